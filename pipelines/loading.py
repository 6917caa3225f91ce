"""Bundles by what a person says: a name or folder, a network, weights of a file or of the registry, a device."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pipelines.bundle import Project, find_project, named_bundle, refuse_generating
from pipelines.errors import UsageError
from pipelines.fetched import is_address, local
from pipelines.files import make_folder
from pipelines.prediction import Model, fast_options


def load_bundle(
    name: str | os.PathLike[str],
    network: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    fast: bool = False,
    *,
    overlays: Sequence[str] = (),
    bundles: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Model:
    """A bundle as something to call: ``load_bundle("covid_ct_lesion_segmentation")("scan.nii.gz").report``.

    Args:
        name: a bundle's name or folder.
        network: an overlay of its ``configs/networks``; None for its default.
        checkpoint: weights (.safetensors or .pt), their address with their hash
            (``https://HOST/FILE.safetensors#sha256=HEX``), or ``models:/BUNDLE@champion`` of the registry; None for
            those that are shipped with it.
        device: "cpu", "cuda", "cuda:1", …; None for cuda where there is one.
        fast: no averaging over flips and scales: a tenth of the time.
        overlays: further configs of the bundle by name, such as "severity".
        bundles: the folder of bundles; None for ``PIPELINES_BUNDLES``, ``./bundles``, or those of this installation.
        options: any top-level id of the bundle's ``inference.yaml``.

    Raises:
        UsageError: there is no such bundle, network, overlay or device.
        ConfigError: an option that the bundle does not have, or a config that cannot be used.
        UnreadableFileError, WeightsError: the weights cannot be used.
        TrackingError: the registry cannot be asked.
    """
    project = find_project(None if bundles is None else Path(bundles))
    folder = named_bundle(Path(name), project.bundles)
    refuse_generating(folder, "load_bundle")
    overrides = (fast_options(folder) if fast else {}) | chosen(project, checkpoint, device) | options
    return Model(folder, network, overlays, **overrides)


def chosen(
    project: Project,
    checkpoint: str | os.PathLike[str] | None,
    device: str | torch.device | None,
    shared: Path | None = None,
) -> dict[str, Any]:
    """The ids of a bundle's config that weights and device are; none for what is None.

    Args:
        shared: the folder below which registered weights are kept until the process ends, where other machines are to
            see them; made if missing. None for the system's.

    Raises:
        OutputError: ``shared`` cannot be made.
        UsageError: the device cannot be used.
        TrackingError, UnreadableFileError: registered weights cannot be had.
    """
    overrides: dict[str, Any] = {}
    if checkpoint is not None:
        overrides["checkpoint"] = _file_of(checkpoint, project, shared)
    if device is not None:
        try:
            overrides["device"] = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"the device {str(device)!r} cannot be used", how="leave out --device") from error
    return overrides


def _file_of(checkpoint: str | os.PathLike[str], project: Project, shared: Path | None) -> str:
    """The file of weights; those of an address come from the cache, a registered model's are fetched and kept until the
    process ends."""
    given = os.fspath(checkpoint)
    if not given.startswith("models:/"):
        file = local(given).absolute()
        return str(file if shared is None or not is_address(given) else _copied(file, shared))
    from pipelines.promotion import fetch_checkpoint  # MLflow: some seconds
    from pipelines.tracking import tracking_uri

    return str(fetch_checkpoint(tracking_uri(project.root), given, _folder(shared)))


def _copied(file: Path, shared: Path) -> Path:
    """Fetched weights and what lies beside them, where other machines see them."""
    return Path(shutil.copytree(file.parent, _folder(shared) / "fetched")) / file.name


def _folder(shared: Path | None) -> Path:
    """A folder that goes when the process ends."""
    if shared is not None:
        make_folder(shared)
    place = None if shared is None else shared.absolute()
    folder = tempfile.TemporaryDirectory(prefix="registered-" if place is None else ".registered-", dir=place)
    atexit.register(folder.cleanup)
    return Path(folder.name)
