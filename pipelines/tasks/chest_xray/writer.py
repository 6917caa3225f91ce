"""Writes what a classifier found in chest X-rays, and which of them a person should see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numpy.typing import NDArray

from pipelines.handlers import PictureClassWriter
from pipelines.readers import XrayPicture, read_xray
from pipelines.tasks.chest_xray.quality import xray_doubts


class XrayClassWriter(PictureClassWriter):
    """``PictureClassWriter`` of chest X-rays. A picture is also referred where it does not look like a frontal chest
    X-ray, or where its contrast, exposure, sharpness or noise is not that of the training pictures (``xray_doubts``).

    Arguments and errors are those of ``PictureClassWriter``.
    """

    def read(self, path: Path) -> XrayPicture:
        return read_xray(path)

    def doubts(self, case: XrayPicture) -> Sequence[str]:
        return [*case.doubts, *xray_doubts(case.array)]

    def pixels(self, case: XrayPicture) -> NDArray:
        return case.array[None]
