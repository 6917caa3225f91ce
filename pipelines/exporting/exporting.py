"""``configs/export.yaml`` of a bundle, run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pipelines.errors import ConfigError
from pipelines.exporting.bundle_export import Exported
from pipelines.exporting.formats import check_installed
from pipelines.prediction import fault_behind, open_inference


def export_bundle(
    bundle: Path, out: Path, form: str = "onnx", *, network: str | None = None, **overrides: Any
) -> Exported:
    """Export a bundle's network.

    Args:
        bundle: its folder.
        out: where the files go.
        form: "onnx", "torchscript" or "openvino".
        network: an overlay of ``configs/networks``; None for the bundle's default.
        overrides: top-level ids of the config: ``input`` or ``dataset_dir``, with the cases that the export is compared
            on; ``checkpoint``, ….

    Raises:
        ConfigError: the bundle has no ``configs/export.yaml``, or one that cannot be used.
        Otherwise as ``open_inference`` and ``BundleExport.write``.
    """
    check_installed(form)
    overlay = bundle / "configs" / "export.yaml"
    if (bundle / "configs" / "inference.yaml").is_file() and not overlay.is_file():
        how = "write one, as a bundle of `pipelines new` has it"
        raise ConfigError("the bundle has no configs/export.yaml", where=bundle, how=how)
    workflow = open_inference(
        bundle, network, beyond=[overlay], output_dir=str(out.absolute()), export_to=form,
        device=torch.device("cpu"), **overrides,
    )  # fmt: skip
    try:
        export = workflow.parser.get_parsed_content("export")
    except RuntimeError as error:  # MONAI's, of a fault within the config
        if (fault := fault_behind(error)) is not None:
            raise fault from None
        raise
    return export.write()
