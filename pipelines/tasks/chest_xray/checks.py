"""One chest X-ray, read and checked: what later steps need of it, small enough to keep for thousands at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import UnreadableFileError
from pipelines.preparation.likeness import content_hash, perceptual_hash
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import TILE
from pipelines.readers.bare_picture import without_metadata
from pipelines.tasks.chest_xray.source import XRAY_CLASSES, RawXrays, XrayPixels, file_bytes

_LOOK_SIDE = 64  # of the small copy whose look is kept


@dataclass(frozen=True)
class CheckedXray:
    """A picture that may be written.

    Attributes:
        label: its class, see `XRAY_CLASSES`.
        size: columns and rows, upright.
        mean: of the grey values, 0..255.
        copied: the file is an upright 8-bit grey JPEG, and is copied without metadata.
        digest: SHA-256 of what it was read from; `content`: of what it shows.
        look: see `perceptual_hash`.
        read: gets the pixels again; they are not kept.
    """

    raw: RawCase
    label: int
    size: tuple[int, int]
    mean: float
    copied: bool
    digest: str
    content: str
    look: NDArray[np.bool_]
    notes: tuple[str, ...]
    read: Callable[[RawCase], XrayPixels]

    @property
    def kind(self) -> str:
        return "picture"

    @property
    def case(self) -> str:
        return self.raw.case

    @property
    def share(self) -> float:
        return 0.0

    @property
    def caption(self) -> str:
        return XRAY_CLASSES[self.label] + (f", {self.raw.subtype}" if self.raw.subtype else "")

    @property
    def image_name(self) -> str:
        return f"images/{self.case}{'.jpg' if self.copied else '.png'}"

    @property
    def tile(self) -> NDArray[np.uint8]:
        """uint8 (rows, columns), the longer side `TILE` pixels; read anew each time."""
        picture = Image.fromarray(self.read(self.raw).plane)
        factor = TILE / max(picture.size)
        size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))

    @property
    def tile_label(self) -> NDArray[np.uint8]:
        """Nothing is outlined."""
        return np.zeros((1, 1), np.uint8)


def check_xray(folder: RawXrays, raw: RawCase, label: int) -> CheckedXray:
    """Read a picture. Peak memory is one picture.

    Raises:
        PipelinesError: of the kind of its fault.
    """
    pixels = folder.read(raw)
    plane = pixels.plane
    small = Image.fromarray(plane).resize((_LOOK_SIDE, _LOOK_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return CheckedXray(
        raw=raw,
        label=label,
        size=(plane.shape[1], plane.shape[0]),
        mean=float(plane.mean()),
        copied=pixels.copied,
        digest=pixels.digest,
        content=content_hash(plane),
        look=perceptual_hash(np.asarray(small, np.float32)[:, :, None] / np.float32(255)),
        notes=pixels.notes,
        read=folder.read,
    )


def write_xray(checked: CheckedXray, path: Path) -> None:
    """Write the picture: a copy without metadata, or 8-bit grey PNG, upright.

    Raises:
        UnreadableFileError: the raw picture changed since it was checked.
    """
    pixels = checked.read(checked.raw)
    if pixels.digest != checked.digest:
        raise UnreadableFileError(
            "the picture changed while it was being prepared", where=checked.raw.image, how="prepare it again"
        )
    if checked.copied:
        path.write_bytes(without_metadata(file_bytes(checked.raw.image), checked.raw.image))
    else:
        Image.fromarray(pixels.plane).save(path)
