"""One dermoscopic picture, read and checked: what later steps need of it, small enough to keep for all cases at
once."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import UnreadableFileError
from pipelines.files import file_digest
from pipelines.preparation.likeness import content_hash, perceptual_hash
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import TILE
from pipelines.readers import read_colour, read_mask_of
from pipelines.readers.bare_picture import without_metadata
from pipelines.tasks.dermoscopy.layouts import LESION

_COPIED = {"JPEG": ".jpg", "PNG": ".png"}


@dataclass(frozen=True)
class CheckedPicture:
    """A picture that may be written.

    Attributes:
        size: columns and rows, upright.
        suffix: of the prepared file.
        copied: the file is upright 8-bit RGB in JPEG or PNG, and is copied without metadata.
        lesion_pixels: of the mask.
        digest: SHA-256 of the raw file; `content`: of what it shows.
        look: see `perceptual_hash`.
        tile, tile_label: uint8 (rows, columns, 3) and (rows, columns), for the contact sheet.
        packed_label: see `label`.
    """

    raw: RawCase
    size: tuple[int, int]
    suffix: str
    copied: bool
    lesion_pixels: int
    digest: str
    content: str
    look: NDArray[np.bool_]
    tile: NDArray[np.uint8]
    tile_label: NDArray[np.uint8]
    notes: tuple[str, ...]
    packed_label: bytes

    @property
    def kind(self) -> str:
        return "picture"

    @property
    def case(self) -> str:
        return self.raw.case

    @property
    def share(self) -> float:
        """Lesion over all pixels (0..1)."""
        return self.lesion_pixels / (self.size[0] * self.size[1])

    @property
    def caption(self) -> str:
        return f"lesion {100 * self.share:.1f} %"

    @property
    def image_name(self) -> str:
        return f"images/{self.case}{self.suffix}"

    @property
    def label_name(self) -> str:
        return f"labels/{self.case}.png"

    def label(self) -> NDArray[np.uint8]:
        """The label, uint8 (W, H) of 0 and 1."""
        bits = np.frombuffer(zlib.decompress(self.packed_label), np.uint8)
        return np.unpackbits(bits, count=self.size[0] * self.size[1]).reshape(self.size)


def check_picture(raw: RawCase) -> CheckedPicture:
    """Read a picture and its mask. Peak memory is one picture and its mask.

    Raises:
        PipelinesError: of the kind of the first fault.
    """
    picture = read_colour(raw.image)
    mask = read_mask_of(raw.masks[LESION], picture)
    copied = not picture.notes and picture.file_format in _COPIED
    tile, tile_label = _tile(picture.array, mask.array)
    width, height = mask.array.shape
    return CheckedPicture(
        raw=raw,
        size=(width, height),
        suffix=_COPIED[picture.file_format] if copied else ".png",
        copied=copied,
        lesion_pixels=int(np.count_nonzero(mask.array)),
        digest=file_digest(raw.image),
        content=content_hash(picture.array),
        # of the tile, which differs from that of the whole picture in a bit or two of a hundred, and costs nothing
        look=perceptual_hash(tile.mean(axis=2, dtype=np.float32).T[:, :, None] / 255),
        tile=tile,
        tile_label=tile_label,
        notes=picture.notes + mask.notes,
        packed_label=zlib.compress(np.packbits(mask.array).tobytes(), 1),
    )


def write_picture(checked: CheckedPicture, image_path: Path, label_path: Path) -> None:
    """Write the picture (a copy without metadata, or 8-bit RGB PNG, upright) and its label (uint8 PNG, 0 and 1).

    Raises:
        UnreadableFileError: the raw picture changed since it was checked.
    """
    source = checked.raw.image
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"cannot be read any more ({error.strerror})", where=source) from None
    if hashlib.sha256(data).hexdigest() != checked.digest:
        raise UnreadableFileError(
            "the picture changed while it was being prepared", where=source, how="prepare it again"
        )
    if checked.copied:
        image_path.write_bytes(without_metadata(data, source))
    else:
        Image.fromarray(np.ascontiguousarray(read_colour(source).array.transpose(2, 1, 0))).save(image_path)
    Image.fromarray(np.ascontiguousarray(checked.label().T)).save(label_path)


def _tile(array: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture (3, W, H) and its mask (W, H) as rows and columns, the longer side `TILE` pixels."""
    picture = Image.fromarray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    factor = TILE / max(picture.size)
    size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
    small = Image.fromarray(np.ascontiguousarray(mask.T)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR)), np.asarray(small)
