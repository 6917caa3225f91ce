"""Writes what any segmentation found: a mask on the input's grid, an overlay to look at, and a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.evaluation.label_outlines import outlined_picture, outlined_slices
from pipelines.files import save_png
from pipelines.handlers.case_writer import NOT_FOR_CARE, CaseWriter, Finding
from pipelines.handlers.mask_image import mask_image
from pipelines.readers import CaseImage, ColourPicture, read_colour, read_volume
from pipelines.readers.burned_in import notes_of
from pipelines.readers.shown_path import shown_path

MOST_FIGURES = 6  # labels whose size a list of cases shows


class MaskWriter(CaseWriter):
    """For each case of an evaluator: ``NAME_mask.nii.gz`` or ``.png``, ``NAME_overlay.png``, ``NAME_report.json``.

    The mask lies on the input's grid: of a volume NIfTI (uint8) with the input's affine and, where the input is NIfTI,
    its codes; of a picture 8-bit PNG of its size as a person sees it. The overlay has an outline a label. The report
    has, for each label, how much of it there is: ``volumes[NAME]`` with ``voxels`` (pixels), ``ml`` (None of a picture)
    and ``share``, 0..1 of the whole image. The prediction is a label map on the original grid, (1, X, Y, Z), or
    (1, W, H) or (W, H). See ``CaseWriter``.

    Args:
        output_dir, provenance, key: as ``CaseWriter``.
        label_names: value of the mask to name, 0 (background) included.
        images: "volume" for what ``LoadVolumed`` reads, "colour" for what ``LoadPictured`` does.

    Raises:
        ValueError: no names, or another word for ``images``.
    """

    def __init__(
        self,
        output_dir: str,
        label_names: Mapping[int, str] | Mapping[str, str],
        images: Literal["volume", "colour"] = "volume",
        provenance: Mapping[str, Any] | None = None,
        key: str = "pred",
    ) -> None:
        super().__init__(output_dir, provenance, key)
        self.labels = {int(value): str(name) for value, name in label_names.items()}
        if len(self.labels) < 2 or len(set(self.labels.values())) < len(self.labels):
            raise ValueError(f"label_names are {self.labels}: a name of its own is due for background and each label")
        if images not in ("volume", "colour"):
            raise ValueError(f"images are {images!r}, and volume or colour is due")
        self.images = images

    def read(self, path: Path) -> CaseImage | ColourPicture:
        return read_volume(path) if self.images == "volume" else read_colour(path)

    def find(self, name: str, case: CaseImage | ColourPicture, item: Mapping[str, Any]) -> Finding:
        shape = case.array.shape[1:] if isinstance(case, ColourPicture) else case.array.shape
        mask = np.asarray(item[self.key].cpu()).astype(np.uint8)
        mask = mask[0] if mask.ndim == len(shape) + 1 else mask
        if mask.shape != shape:
            raise ValueError(f"the mask is {mask.shape} and the case {shape}: invert the preprocessing first")
        if isinstance(case, ColourPicture):
            stored: Any = Image.fromarray(np.ascontiguousarray(mask.T))
        else:
            stored = mask_image(mask, case, max(self.labels))
        return Finding(
            name,
            self.report(case, mask),
            stored,
            draw=lambda file: save_png(Image.fromarray(_overlay(case, mask)), file),
        )

    def report(self, case: CaseImage | ColourPicture, mask: NDArray[np.uint8]) -> dict[str, Any]:
        """What ``NAME_report.json`` says of a case."""
        counts = np.bincount(mask.ravel(order="K"), minlength=max(self.labels) + 1)
        if unnamed := [value for value in np.flatnonzero(counts).tolist() if value not in self.labels]:
            raise ValueError(f"the mask has the values {unnamed}, and the labels are {self.labels}")
        ml = None if case.spacing is None else float(np.prod(case.spacing)) / 1000
        volumes = {
            name: {
                "voxels": int(counts[value]),
                "ml": None if ml is None else round(int(counts[value]) * ml, 3),
                "share": round(int(counts[value]) / mask.size, 6),
            }
            for value, name in sorted(self.labels.items())
            if value
        }
        size, kind = ("share", "share") if ml is None else ("ml", "ml")
        return {
            "input": shown_path(case.path),
            "kind": case.kind,
            "shape": list(mask.shape),
            "spacing_mm": None if case.spacing is None else [round(float(s), 6) for s in case.spacing],
            "labels": {str(value): name for value, name in sorted(self.labels.items())},
            "volumes": volumes,
            "found": [name for name, each in volumes.items() if each["voxels"]],
            "figures": [
                {"key": ["volumes", name, size], "title": name, "kind": kind} for name in list(volumes)[:MOST_FIGURES]
            ],
            "notes": notes_of(case),
            **self.provenance,
            "use": NOT_FOR_CARE,
        }


def _overlay(case: CaseImage | ColourPicture, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(case, ColourPicture):
        return outlined_picture(case.array, mask)
    return outlined_slices(case.axial(case.array), case.axial(mask), case.axial_spacing)
