"""Writes what a segmentation found in colour pictures: a mask of the picture's size, an outline, and a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.files import save_png
from pipelines.handlers.case_writer import NOT_FOR_CARE, CaseWriter, Finding
from pipelines.readers import ColourPicture, read_colour
from pipelines.readers.burned_in import notes_of
from pipelines.readers.shown_path import shown_path
from pipelines.tasks.dermoscopy.lesion_shape import measure_lesion, outlined


class LesionWriter(CaseWriter):
    """For each picture of an evaluator: ``NAME_mask.png``, ``NAME_overlay.png``, ``NAME_report.json``.

    The mask has the size of the picture as a person sees it (turned as its EXIF orientation says), 8 bits, with label
    values 0 and 1. The prediction is a label map (W, H) or (1, W, H) of that size. See ``CaseWriter``.
    """

    def read(self, path: Path) -> ColourPicture:
        return read_colour(path)

    def find(self, name: str, case: ColourPicture, item: Mapping[str, Any]) -> Finding:
        mask = np.asarray(item[self.key].cpu()).astype(np.uint8)
        mask = mask[0] if mask.ndim == 3 else mask
        if mask.shape != case.array.shape[1:]:
            raise ValueError(f"the mask is {mask.shape} and the picture {case.array.shape[1:]}")
        report = {
            "input": shown_path(case.path),
            "kind": case.kind,
            "size_px": {"width": mask.shape[0], "height": mask.shape[1]},
            "labels": {"0": "background", "1": "lesion"},
            "lesion_found": bool(mask.any()),
            **measure_lesion(mask),
            "figures": [
                {"key": "area_share", "title": "area", "kind": "share"},
                {"key": "parts", "title": "parts", "kind": "number"},
            ],
            "notes": notes_of(case),
            **self.provenance,
            "use": NOT_FOR_CARE,
        }
        return Finding(
            name,
            report,
            Image.fromarray(np.ascontiguousarray(mask.T)),
            draw=lambda file: save_png(Image.fromarray(outlined(case.array, mask)), file),
        )
