"""Writes what inference found: a mask on the input's grid, an overlay to look at, and a report."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from ignite.engine import Engine, Events
from PIL import Image

from pipelines.errors import OutputError
from pipelines.evaluation.case_report import measure_case, overlay, volume_overlay
from pipelines.readers import CaseImage, read_case

logger = logging.getLogger(__name__)

NOT_FOR_CARE = "Research use only: not a medical device, not for diagnosis or treatment."


class PredictionWriter:
    """For each case of an evaluator: ``NAME_mask.nii.gz`` or ``.png``, ``NAME_overlay.png``, ``NAME_report.json``.

    The mask lies on the input's grid with its affine: NIfTI (uint8) for volumes, an 8-bit PNG of label values (0, 1, 2)
    for pictures. The three files of a case appear together or not at all. ``written`` lists them by case.

    Args:
        output_dir: made if missing.
        provenance: entries for the report (network, weights).
        key: of the label map in the engine's output, (1, X, Y, Z) on the original grid.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, output_dir: str, provenance: Mapping[str, Any] | None = None, key: str = "pred") -> None:
        self.output_dir = Path(output_dir)
        self.provenance = {k: _without_folder(v) for k, v in (provenance or {}).items()}
        self.key = key
        self.written: dict[str, dict[str, Path]] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        batch, outputs = cast(list, engine.state.batch), cast(list, engine.state.output)
        for item, output in zip(batch, outputs, strict=True):
            path = Path(item["image"].meta["filename_or_obj"])
            name = str(item.get("case") or path.name.split(".")[0])
            mask = np.asarray(output[self.key].cpu())[0].astype(np.uint8)
            item.pop("image")  # the preprocessed copy is not needed any more; a long volume's is large
            self.written[name] = self.write(name, read_case(path), mask)
            logger.info("%s: %s", name, self.written[name]["mask"])

    def write(self, name: str, case: CaseImage, mask: np.ndarray) -> dict[str, Path]:
        """Writes the three files of one case and returns their paths by kind (mask, overlay, report)."""
        if mask.shape != case.array.shape:
            raise ValueError(
                f"the mask is {mask.shape} and the case {case.array.shape}: invert the preprocessing first"
            )
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.output_dir, prefix=".writing-") as folder:
                files = self._write_into(Path(folder), name, case, mask)
                final = {kind: self.output_dir / file.relative_to(folder) for kind, file in files.items()}
                for kind, file in files.items():
                    final[kind].parent.mkdir(parents=True, exist_ok=True)
                    file.replace(final[kind])
        except OSError as error:
            for kind in ("mask", "overlay", "report"):
                with contextlib.suppress(OSError, UnboundLocalError):
                    final[kind].unlink(missing_ok=True)
            raise OutputError(
                f"the prediction cannot be written ({error.strerror or error})",
                where=self.output_dir,
                how="free space or choose a folder you may write to",
            ) from error
        return final

    def _write_into(self, folder: Path, name: str, case: CaseImage, mask: np.ndarray) -> dict[str, Path]:
        picture = case.kind == "picture"
        files = {
            "mask": folder / f"{name}_mask{'.png' if picture else '.nii.gz'}",
            "overlay": folder / f"{name}_overlay.png",
            "report": folder / f"{name}_report.json",
        }
        files["mask"].parent.mkdir(parents=True, exist_ok=True)
        if picture:
            Image.fromarray(np.ascontiguousarray(mask[:, :, 0].T)).save(files["mask"])
        else:
            nib.save(mask_image(mask, case), files["mask"])
        Image.fromarray(render(case, mask)).save(files["overlay"])
        report = {
            "input": str(case.path),
            "kind": case.kind,
            "shape": list(case.array.shape),
            "spacing_mm": None if case.spacing is None else [round(float(s), 6) for s in case.spacing],
            "labels": {"0": "background", "1": "lung", "2": "lesion"},
            **measure_case(mask, case.spacing),
            "notes": list(case.notes),
            **self.provenance,
            "use": NOT_FOR_CARE,
        }
        files["report"].write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return files


def mask_image(mask: np.ndarray, case: CaseImage) -> nib.Nifti1Image:
    """The mask as NIfTI; from a NIfTI input it takes the shape (2D, 4D of one), affine and codes over exactly."""
    if not case.path.name.endswith((".nii", ".nii.gz")):
        image = nib.Nifti1Image(mask, case.affine)
        image.header.set_xyzt_units("mm")
        return image
    source = cast(nib.Nifti1Image, nib.load(case.path))
    header = source.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 2
    return nib.Nifti1Image(mask.reshape(source.shape), source.affine, header)


def render(case: CaseImage, mask: np.ndarray) -> np.ndarray:
    """The overlay picture of a case: the picture itself, or slices of the volume turned upright (LPS)."""
    if case.kind == "picture":
        return overlay(case.array[:, :, 0], mask[:, :, 0], case.intensity)
    orientation = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(case.affine), nib.orientations.axcodes2ornt("LPS")
    )
    image, labels = (nib.orientations.apply_orientation(a, orientation) for a in (case.array, mask))
    return volume_overlay(image, labels, case.intensity)


def _without_folder(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and os.sep in value else value
