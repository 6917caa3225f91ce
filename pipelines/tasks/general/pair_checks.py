"""One image with its mask, read and checked: what later steps need of it, small enough to keep for all at once."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import LabelError
from pipelines.files import file_digest
from pipelines.preparation.likeness import content_hash, perceptual_hash
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import TILE
from pipelines.preparation.showing import value_window, windowed
from pipelines.readers import PICTURE_AFFINE, CaseImage, read_colour, read_label_noted, read_volume
from pipelines.readers.colour import NEAR_BLACK, NEAR_WHITE
from pipelines.readers.raw import Grid
from pipelines.tasks.general.image_files import PICTURE
from pipelines.tasks.general.label_numbers import WHITE
from pipelines.tasks.general.pair_layout import MASK
from pipelines.tasks.general.picture_copies import COPIED, changed, write_picture

MOST_OF_PICTURE = 32  # values of a picture's mask: one with more is a photograph, or was a JPEG
EMPTY = "the mask is all background"


@dataclass(frozen=True)
class CheckedPair:
    """An image with its mask that may be written.

    Attributes:
        kind: "picture" or "volume".
        shape: (W, H), upright, or (X, Y, Z) as stored.
        spacing: of a volume, in mm.
        axial: of a volume, voxels and mm a voxel along left to right, front to back, feet to head.
        suffix: of the prepared image.
        copied: the image is an upright 8-bit RGB JPEG or PNG, and is copied without metadata.
        voxels: how many have each value of the mask.
        digest: SHA-256 of the raw file of a picture; `content`: of what it shows.
        look: see `perceptual_hash`.
        tile, tile_values: uint8 (rows, columns[, 3]), and the mask's values there, for the contact sheet.
        numbers: the label of each value; known when all masks were read.
        packed: see `label`.
    """

    raw: RawCase
    kind: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    suffix: str
    copied: bool
    voxels: Mapping[int, int]
    digest: str
    content: str
    look: NDArray[np.bool_]
    tile: NDArray[np.uint8]
    tile_values: NDArray[np.uint8]
    notes: tuple[str, ...]
    packed: bytes
    axial: tuple[tuple[int, float], ...] = ()
    numbers: Mapping[int, int] = field(default_factory=dict)

    @property
    def case(self) -> str:
        return self.raw.case

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def numbered(self, numbers: Mapping[int, int]) -> CheckedPair:
        """This pair with the labels of its values."""
        return replace(self, numbers=numbers)

    def shares(self) -> dict[int, float]:
        """Of each label that the mask holds its part of the image, 0..1."""
        found: dict[int, int] = {}
        for value, number in self.voxels.items():
            label = self.numbers.get(value, value)
            found[label] = found.get(label, 0) + number
        return {label: number / self.size for label, number in sorted(found.items()) if label}

    @property
    def share(self) -> float:
        """All labels over the image (0..1)."""
        return sum(self.shares().values())

    @property
    def caption(self) -> str:
        return f"labelled {100 * self.share:.1f} %"

    @property
    def tile_label(self) -> NDArray[np.uint8]:
        return self._numbered(self.tile_values)

    @property
    def image_name(self) -> str:
        return f"images/{self.case}{self.suffix}"

    @property
    def label_name(self) -> str:
        return f"labels/{self.case}{'.png' if self.kind == PICTURE else '.nii.gz'}"

    def label(self) -> NDArray[np.uint8]:
        """The labels, uint8, of the image's shape."""
        values = np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)
        return self._numbered(values)

    def _numbered(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        table = np.arange(256, dtype=np.uint8)
        for value, number in self.numbers.items():
            table[value] = number
        return table[values]


def check_pair(raw: RawCase, kind: str) -> CheckedPair:
    """Read an image and its mask. Peak memory is one image and its mask.

    Raises:
        PipelinesError: of the kind of the first fault.
    """
    return _picture(raw) if kind == PICTURE else _volume(raw)


def write_pair(checked: CheckedPair, folder: Path) -> None:
    """Write image and labels: of a picture a copy or 8-bit RGB PNG, upright, and 8-bit PNG; of a volume NIfTI, int16
    where all values are such numbers, else float32, and uint8. The image is read again, so that one is held at a time.

    Raises:
        UnreadableFileError: the raw image changed since it was checked.
    """
    image_path, label_path = folder / checked.image_name, folder / checked.label_name
    if checked.kind == PICTURE:
        write_picture(checked.raw.image, checked.digest, checked.copied, image_path)
        Image.fromarray(np.ascontiguousarray(checked.label().T)).save(label_path)
        return
    image = read_volume(checked.raw.image)
    if content_hash(image.array) != checked.content:
        raise changed(checked.raw.image)
    fits = image.array.min() >= -32768 and image.array.max() <= 32767 and _whole(image.array)
    _save_volume(image.array.astype(np.int16) if fits else image.array, image, image_path)
    _save_volume(checked.label(), image, label_path)


def _picture(raw: RawCase) -> CheckedPair:
    picture = read_colour(raw.image)
    width, height = picture.array.shape[1:]
    grid = Grid((width, height, 1), PICTURE_AFFINE, picture.kind, picture.path.name, picture.orientation)
    values, turned = read_label_noted(raw.masks[MASK], grid)
    values, notes = _settled(values[:, :, 0], raw.masks[MASK])
    copied = not picture.notes and picture.file_format in COPIED
    shown = Image.fromarray(np.ascontiguousarray(picture.array.transpose(2, 1, 0)))
    tile, tile_values = _tile(shown, values, (width, height))
    return CheckedPair(
        raw=raw,
        kind=PICTURE,
        shape=(width, height),
        spacing=None,
        suffix=COPIED[picture.file_format] if copied else ".png",
        copied=copied,
        digest=file_digest(raw.image),
        content=content_hash(picture.array),
        look=perceptual_hash(tile.mean(axis=2, dtype=np.float32).T[:, :, None] / 255),
        tile=tile,
        tile_values=tile_values,
        notes=(*picture.notes, *turned, *notes, *_empty(values)),
        **_counted(values),
    )


def _volume(raw: RawCase) -> CheckedPair:
    image = read_volume(raw.image)
    values, turned = read_label_noted(raw.masks[MASK], image)
    axial, labels = image.axial(image.array), image.axial(values)
    scaled = windowed(axial, value_window(image.array))
    z = _telling_slice(labels)
    shown = Image.fromarray(np.ascontiguousarray(np.rint(scaled[:, :, z].T * 255).astype(np.uint8)))
    spacing = image.axial_spacing
    assert spacing is not None, "a volume has one"
    tile, tile_values = _tile(shown, labels[:, :, z], (axial.shape[0] * spacing[0], axial.shape[1] * spacing[1]))
    return CheckedPair(
        raw=raw,
        kind="volume",
        shape=values.shape,
        spacing=image.spacing,
        axial=tuple(zip(axial.shape, spacing, strict=True)),
        suffix=".nii.gz",
        copied=False,
        digest="",
        content=content_hash(image.array),
        look=perceptual_hash(scaled),
        tile=tile,
        tile_values=tile_values,
        notes=(*image.notes, *turned, *_empty(values)),
        **_counted(values),
    )


def _counted(values: NDArray[np.uint8]) -> dict[str, Any]:
    counts = np.bincount(values.ravel(order="K"), minlength=256)
    return {
        "voxels": {int(value): int(counts[value]) for value in np.flatnonzero(counts)},
        "packed": zlib.compress(np.ascontiguousarray(values).tobytes(), 1),
    }


def _empty(values: NDArray[np.uint8]) -> tuple[str, ...]:
    return () if values.any() else (EMPTY,)


def _settled(values: NDArray[np.uint8], path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A picture's mask without what JPEG made of black and white.

    Raises:
        LabelError: more values than a mask has.
    """
    found = np.flatnonzero(np.bincount(values.ravel(order="K"), minlength=256))
    jpeg = _is_jpeg(path)
    white = (found >= NEAR_WHITE).any() and not ((found > NEAR_BLACK) & (found < NEAR_WHITE)).any()
    if white and (jpeg or ((found >= NEAR_WHITE) & (found < WHITE)).any()):  # no labels are numbered so
        blurred = not set(found.tolist()) <= {0, WHITE}
        notes = ("values near 0 and 255 in the mask were brought to 0 and 1",) if blurred else ()
        return np.where(values >= NEAR_WHITE, np.uint8(WHITE), np.uint8(0)), notes
    shown = ", ".join(map(str, found[:8])) + (", ..." if found.size > 8 else "")
    if jpeg and found.size > 2:
        raise LabelError(
            f"the mask is a JPEG, which blurs the numbers of labels, and holds {found.size} values ({shown})",
            where=path,
            how="export the mask again as PNG",
        )
    if found.size > MOST_OF_PICTURE:
        raise LabelError(
            f"the mask holds {found.size} values ({shown}): a photograph, a JPEG once, or resized smoothly",
            where=path,
            how="export the mask again as PNG with a number a label",
        )
    return values, ()


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def _telling_slice(labels: NDArray[np.uint8]) -> int:
    """The slice with the most labels, and of these the one with most of the rarest; the middle one of none."""
    counts = np.stack([np.bincount(labels[:, :, z].ravel(), minlength=256)[1:] for z in range(labels.shape[2])])
    if not counts.any():
        return labels.shape[2] // 2
    several = (counts > 0).sum(axis=1)
    everywhere = counts.sum(axis=0)
    rarest = int(np.argmin(np.where(everywhere > 0, everywhere, np.iinfo(np.int64).max)))
    best = several == several.max()
    return int(np.argmax(np.where(best, counts[:, rarest] * labels.size + counts.sum(axis=1), -1)))


def _tile(
    shown: Image.Image, values: NDArray[np.uint8], lengths: tuple[float, float]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture and its mask (W, H) as rows and columns at true proportions, the longer side `TILE` pixels."""
    factor = TILE / max(lengths)
    size = (max(round(lengths[0] * factor), 1), max(round(lengths[1] * factor), 1))
    small = Image.fromarray(np.ascontiguousarray(values.T)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(shown.resize(size, Image.Resampling.BILINEAR)), np.asarray(small)


def _whole(array: NDArray[np.float32]) -> bool:
    return all(np.array_equal(array[:, :, z], np.rint(array[:, :, z])) for z in range(array.shape[2]))


def _save_volume(array: NDArray, image: CaseImage, path: Path) -> None:
    nifti = nib.Nifti1Image(array, image.affine)
    nifti.header.set_data_dtype(array.dtype)
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(image.affine, code=1)
    nifti.set_qform(image.affine, code=1)
    nib.save(nifti, path)
