"""One raw case, read and checked: what later steps need of it, small enough to keep for all cases at once."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import UnreadableFileError
from pipelines.preparation.likeness import content_hash, perceptual_hash
from pipelines.preparation.raw_case import RawCase
from pipelines.preparation.report import TILE
from pipelines.readers import CaseImage, read_case
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.raw_set import RawSet
from pipelines.tasks.lung_ct.severity import SCALES, slice_counts, slice_extents, volume_extent, volume_floor

SEVERITY = SCALES["normal_mild_severe"]


@dataclass(frozen=True)
class CaseSeverity:
    """Severity by the true mask (``lung_ct.severity``); None where there is too little lung to divide by.

    Attributes:
        extent: lesion over lung voxels of the case, 0..1.
        volume: the class of that.
        slices: the class of each axial slice, feet to head.
    """

    extent: float | None
    volume: str | None
    slices: tuple[str | None, ...]


@dataclass(frozen=True)
class CheckedCase:
    """A case that may be written. `share`: lesion over lung voxels (0..1); `tile` and `tile_label`: a slice for the
    contact sheet."""

    raw: RawCase
    source: str
    kind: str
    intensity: str
    shape: tuple[int, int, int]
    spacing: tuple[float, ...] | None
    lung: str
    lesion_voxels: int
    lung_voxels: int
    lesion_slices: int
    severity: CaseSeverity
    content: str
    look: NDArray[np.bool_]
    tile: NDArray[np.uint8]
    tile_label: NDArray[np.uint8]
    notes: tuple[str, ...]
    packed_label: bytes

    @property
    def case(self) -> str:
        return self.raw.case

    @property
    def share(self) -> float:
        return self.lesion_voxels / self.lung_voxels

    @property
    def suffix(self) -> str:
        return ".png" if self.kind == "picture" else ".nii.gz"

    @property
    def caption(self) -> str:
        return f"lesion {100 * self.share:.1f} %"

    @property
    def image_name(self) -> str:
        return f"images/{self.case}{self.suffix}"

    @property
    def label_name(self) -> str:
        return f"labels/{self.case}{self.suffix}"

    def label(self) -> NDArray[np.uint8]:
        """The label, uint8 (X, Y, Z)."""
        return np.frombuffer(zlib.decompress(self.packed_label), np.uint8).reshape(self.shape)


def check_case(raw_set: RawSet, raw: RawCase) -> CheckedCase:
    """Read a case and its masks. Peak memory is one volume, its label and what they are checked with.

    Raises:
        PipelinesError: of the kind of the first fault.
    """
    image = read_case(raw.image)
    built = raw_set.build(raw, image)
    label = np.ascontiguousarray(built.array)
    lesion = label == 2
    per_slice = lesion.sum(axis=(0, 1))
    shown = int(np.argmax(per_slice if per_slice.any() else (label > 0).sum(axis=(0, 1))))
    scaled = scale_ct(image.array, image.intensity)
    tile, tile_label = _tile(scaled[:, :, shown], label[:, :, shown])
    return CheckedCase(
        raw=raw,
        source=raw.source or raw_set.layout,
        kind=image.kind,
        intensity=image.intensity,
        shape=label.shape,
        spacing=image.spacing,
        lung=built.lung,
        lesion_voxels=int(per_slice.sum()),
        lung_voxels=int(np.count_nonzero(label)),
        lesion_slices=int(np.count_nonzero(per_slice)),
        severity=case_severity(label, image),
        content=content_hash(image.array),
        look=perceptual_hash(scaled),
        tile=tile,
        tile_label=tile_label,
        notes=tuple(image.notes) + built.notes,
        packed_label=zlib.compress(label.tobytes(), 1),
    )


def case_severity(label: NDArray[np.uint8], image: CaseImage) -> CaseSeverity:
    """Severity of a label (X, Y, Z) on its image's grid, however that is stored."""
    axial = image.axial(label)
    lesion, lung = slice_counts(axial)
    extents = slice_extents(lesion, lung, axial.shape[0] * axial.shape[1])
    extent = volume_extent(int(lesion.sum()), int(lung.sum()), volume_floor(label.size, image.spacing))
    return CaseSeverity(extent, SEVERITY.name(extent), tuple(SEVERITY.name(each) for each in extents))


def write_case(checked: CheckedCase, image_path: Path, label_path: Path) -> None:
    """Write image (int16 HU, or uint8 0..255) and label (uint8); the image is read again, so that one volume is held
    at a time.

    Raises:
        UnreadableFileError: the raw image changed since it was checked.
    """
    image = read_case(checked.raw.image)
    if content_hash(image.array) != checked.content:
        raise UnreadableFileError(
            "the image changed while it was being prepared", where=checked.raw.image, how="prepare it again"
        )
    values = np.rint(image.array)
    if image.intensity == "hu":
        stored = np.clip(values, -32768, 32767).astype(np.int16)
    else:
        stored = np.clip(values, 0, 255).astype(np.uint8)
    for array, path in ((stored, image_path), (checked.label(), label_path)):
        if checked.kind == "picture":
            Image.fromarray(np.ascontiguousarray(array[:, :, 0].T)).save(path)
        else:
            _save_volume(array, image, path)


def _save_volume(array: NDArray[np.int16] | NDArray[np.uint8], image: CaseImage, path: Path) -> None:
    nifti = nib.Nifti1Image(array, image.affine)
    nifti.header.set_data_dtype(array.dtype)
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(image.affine, code=1)
    nifti.set_qform(image.affine, code=1)
    nib.save(nifti, path)


def _tile(plane: NDArray[np.float32], label: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A slice and its label as rows and columns, the longer side `TILE` pixels."""
    grey = Image.fromarray(np.rint(plane.T * 255).astype(np.uint8))
    factor = TILE / max(grey.size)
    size = (max(round(grey.width * factor), 1), max(round(grey.height * factor), 1))
    small = Image.fromarray(np.ascontiguousarray(label.T)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(grey.resize(size, Image.Resampling.BILINEAR)), np.asarray(small)
