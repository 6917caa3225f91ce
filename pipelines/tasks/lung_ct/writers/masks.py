"""Writes what a segmentation found: a mask on the input's grid, an overlay to look at, and a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from pipelines.files import save_png
from pipelines.handlers import NOT_FOR_CARE, CaseWriter, Finding
from pipelines.handlers.mask_image import mask_image
from pipelines.readers import CaseImage
from pipelines.readers.burned_in import notes_of
from pipelines.tasks.lung_ct.case_report import (
    extent_notes,
    measure_case,
    overlay,
    removed_notes,
    volume_notes,
    volume_overlay,
)
from pipelines.tasks.lung_ct.extent_measure import extent
from pipelines.tasks.lung_ct.intensity import placed
from pipelines.tasks.lung_ct.plausibility import away_from_lungs, implausible
from pipelines.tasks.lung_ct.window import Window

EXTENT = {"key": "extent", "title": "extent", "kind": "share"}
VOLUMES = [{"key": f"{name}_ml", "title": name, "kind": "ml"} for name in ("lesion", "lung")]


class LungMaskWriter(CaseWriter):
    """For each case of an evaluator: ``NAME_mask.nii.gz`` or ``.png``, ``NAME_overlay.png``, ``NAME_report.json``.

    The mask lies on the input's grid with its affine: NIfTI (uint8) for volumes, an 8-bit PNG of label values (0, 1, 2)
    for pictures. The prediction is a label map (1, X, Y, Z) on the original grid; the report says what ``LungsOnlyd``
    took out of it (``removed``). See ``CaseWriter``.
    """

    def find(self, name: str, case: CaseImage, item: Mapping[str, Any]) -> Finding:
        mask = np.asarray(item[self.key].cpu())[0].astype(np.uint8, copy=False)
        if mask.shape != case.array.shape:
            raise ValueError(
                f"the mask is {mask.shape} and the case {case.array.shape}: invert the preprocessing first"
            )
        stored = Image.fromarray(np.ascontiguousarray(mask[:, :, 0].T)) if case.kind == "picture" else None
        return Finding(
            name,
            self.report(case, mask, item.get("removed")),
            mask_image(mask, case, 2) if stored is None else stored,
            draw=lambda file: save_png(Image.fromarray(render(case, mask)), file),
        )

    def extent_of(self, mask: np.ndarray) -> float | None:
        found = extent(mask, lung=1, lesion=2)
        return None if np.isnan(found) else found

    def report(self, case: CaseImage, mask: np.ndarray, removed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What ``NAME_report.json`` says of a case. Where ``doubt`` says why it may be wrong, no extent is given.

        Args:
            case: the input.
            mask: its label map, on its grid.
            removed: what ``LungsOnlyd`` took out of it before; None: nothing.
        """
        image, window = placed(case) if case.intensity == "display" else (None, Window(None))
        measured = measure_case(case.axial(mask), case.spacing)
        doubts = [*implausible(case.axial(mask), image), *away_from_lungs(removed)]
        about_window = [window.note] if window.note else []
        sizes = [*extent_notes(case.axial(mask).shape, case.axial_spacing), *volume_notes(measured["lung_ml"])]
        notes = [*notes_of(case), *about_window, *sizes, *removed_notes(removed), *doubts]
        if window.doubtful and window.note:
            doubts.insert(0, window.note)
        if doubts:
            measured["extent"] = None
        if measured["largest_lesion_slice"] is not None:
            measured["largest_lesion_slice"] = case.slice_indices[measured["largest_lesion_slice"]]
        measured["largest_lesion_slice_axis"] = case.slice_axis
        return {
            **self.about(case),
            "labels": {"0": "background", "1": "lung", "2": "lesion"},
            **measured,
            "doubt": "; ".join(doubts) or None,
            "figures": [EXTENT, *VOLUMES],
            "notes": notes,
            **self.provenance,
            "use": NOT_FOR_CARE,
        }


def render(case: CaseImage, mask: np.ndarray) -> np.ndarray:
    """The overlay picture of a case: the picture itself, or slices of the volume turned upright (LPS)."""
    if case.kind == "picture":
        return overlay(case.array[:, :, 0], mask[:, :, 0], case.intensity)
    return volume_overlay(case.axial(case.array), case.axial(mask), case.intensity, case.axial_spacing)
