"""One picture of a class, read and checked: what later steps need of it, small enough to keep for thousands at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.files import file_digest
from pipelines.preparation.likeness import content_hash, perceptual_hash
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import TILE
from pipelines.readers import read_colour
from pipelines.tasks.general.picture_copies import COPIED, write_picture

_LOOK_SIDE = 64  # of the small copy whose look is kept


@dataclass(frozen=True)
class CheckedClass:
    """A picture that may be written.

    Attributes:
        name: of its class.
        size: columns and rows, upright.
        mean: of all channels, 0..255.
        suffix: of the prepared file.
        copied: the file is upright 8-bit RGB in JPEG or PNG, and is copied without metadata.
        digest: SHA-256 of the raw file; `content`: of what it shows.
        look: see `perceptual_hash`.
    """

    raw: RawCase
    name: str
    size: tuple[int, int]
    mean: float
    suffix: str
    copied: bool
    digest: str
    content: str
    look: NDArray[np.bool_]
    notes: tuple[str, ...]

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
        return self.name

    @property
    def image_name(self) -> str:
        return f"images/{self.case}{self.suffix}"

    @property
    def tile(self) -> NDArray[np.uint8]:
        """uint8 (rows, columns, 3), the longer side `TILE` pixels; read anew each time."""
        picture = Image.fromarray(np.ascontiguousarray(read_colour(self.raw.image).array.transpose(2, 1, 0)))
        factor = TILE / max(picture.size)
        size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))

    @property
    def tile_label(self) -> NDArray[np.uint8]:
        """Nothing is outlined."""
        return np.zeros((1, 1), np.uint8)


def check_class(raw: RawCase, name: str) -> CheckedClass:
    """Read a picture, in colour or grey. Peak memory is one picture.

    Raises:
        PipelinesError: of the kind of its fault.
    """
    picture = read_colour(raw.image)
    copied = not picture.notes and picture.file_format in COPIED
    width, height = picture.array.shape[1:]
    shown = Image.fromarray(np.ascontiguousarray(picture.array.transpose(2, 1, 0))).convert("L")
    small = shown.resize((_LOOK_SIDE, _LOOK_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return CheckedClass(
        raw=raw,
        name=name,
        size=(width, height),
        mean=float(picture.array.mean()),
        suffix=COPIED[picture.file_format] if copied else ".png",
        copied=copied,
        digest=file_digest(raw.image),
        content=content_hash(picture.array),
        look=perceptual_hash(np.asarray(small, np.float32).T[:, :, None] / np.float32(255)),
        notes=picture.notes,
    )


def write_class(checked: CheckedClass, path: Path) -> None:
    """Write the picture: a copy, or 8-bit RGB PNG, upright.

    Raises:
        UnreadableFileError: the raw picture changed since it was checked.
    """
    write_picture(checked.raw.image, checked.digest, checked.copied, path)
