"""Writes what a classifier found in chest X-rays, and which of them a person should see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.handlers import Finding, PictureClassWriter
from pipelines.inferers import resampled
from pipelines.networks import LungFramedClassifier, TwoViewClassifier
from pipelines.readers import XrayPicture, read_xray
from pipelines.tasks.chest_xray.quality import xray_doubts

LUNGS = "frame.network"  # of a ``LungFramedClassifier``


class XrayClassWriter(PictureClassWriter):
    """``PictureClassWriter`` of chest X-rays. A picture is also referred where it does not look like a frontal chest
    X-ray, or where its contrast, exposure, sharpness or noise is not that of the training pictures (``xray_doubts``).

    Of a network that frames the lungs (``LungFramedClassifier``) the report holds the frame, ``lungs_frame_px`` (left,
    top, right, bottom; None, and the picture is referred, where no lungs were found and the whole was looked at), and
    the overlay shows Grad-CAM where it lies in the picture.

    Arguments and errors are those of ``PictureClassWriter``.
    """

    _lungs: tuple[XrayPicture, torch.Tensor] | None = None  # the last case's, which several ask for

    def read(self, path: Path) -> XrayPicture:
        return read_xray(path)

    def doubts(self, case: XrayPicture) -> Sequence[str]:
        doubts = [*case.doubts, *xray_doubts(case.array)]
        if isinstance(self.network, LungFramedClassifier) and not self._frame(case)[1]:
            doubts.append("no two lungs were found: the whole picture was looked at")
        return doubts

    def layers(self) -> list[str]:
        return [*super().layers(), *([LUNGS] if isinstance(self.network, LungFramedClassifier) else [])]

    def pixels(self, case: XrayPicture) -> NDArray:
        return case.array[None]

    def find(self, name: str, case: XrayPicture, item: Mapping[str, Any]) -> Finding:
        found = super().find(name, case, item)
        if not isinstance(self.network, LungFramedClassifier):
            return found
        (width, height), (box, lungs) = case.array.shape, self._frame(case)
        sides = zip((box[0], box[2], box[1], box[3]), (width, height, width, height), strict=True)
        edges = [round(part * side) for part, side in sides]
        return replace(found, report={**found.report, "lungs_frame_px": edges if lungs else None})

    def known(self, case: XrayPicture) -> torch.Tensor | None:
        return self._lungs_of(case) if isinstance(self.network, LungFramedClassifier) else None

    def heat(
        self,
        given: torch.Tensor,
        index: int,
        known: torch.Tensor | None = None,
        features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        heat = super().heat(given, index, known, features)
        if not isinstance(self.network, LungFramedClassifier):
            return heat
        frame = self.network.frame
        with torch.no_grad():
            return frame.unframed(heat, frame.boxes(frame.lungs(given) if known is None else known)[0].cpu())

    def logits(self, given: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
        """Of the framed view alone, whose last features are shown: what the whole picture's says changes no ratio."""
        if isinstance(self.network, TwoViewClassifier):
            return self.network.classifier(self.network.frame(given, known))
        return super().logits(given, known)

    def _frame(self, case: XrayPicture) -> tuple[list[float], bool]:
        """The box of ``LungFrame.boxes``, and whether lungs were found."""
        assert isinstance(self.network, LungFramedClassifier)
        box, found = self.network.frame.boxes(self._lungs_of(case))
        return box[0].tolist(), bool(found[0])

    def _lungs_of(self, case: XrayPicture) -> torch.Tensor:
        """``LungFrame.lungs`` of a case, looked for once."""
        assert isinstance(self.network, LungFramedClassifier)
        if LUNGS in self.seen:
            self._lungs = case, self.network.frame.probabilities(self.seen.pop(LUNGS))
        if self._lungs is None or self._lungs[0] is not case:
            plane = torch.from_numpy(np.ascontiguousarray(case.array, dtype=np.float32) / 255)[None, None]
            plane = plane if self.image_size is None else resampled(plane, self.image_size)
            frame = self.network.frame
            with torch.no_grad():
                self._lungs = case, frame.lungs(plane.to(next(frame.parameters()).device))
        return self._lungs[1]
