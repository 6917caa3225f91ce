"""Masks as datasets store them to labels as this project has them, each step checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import LabelError
from pipelines.readers import CaseImage, read_label
from pipelines.tasks.lung_ct.intensity import scale_ct
from pipelines.tasks.lung_ct.lungs import derive_lung_mask
from pipelines.tasks.lung_ct.raw_set import BuiltLabel

# Outlines by hand cross the lung's edge by a voxel here and there; more than this part of a lesion is another scan's
# mask.
MAX_OUTSIDE = 0.05
# Of the labelled voxels: what two files that say the same thing may differ in.
MAX_DISAGREEMENT = 0.001
# Lung window 0..1 (-230 HU): above lies tissue. Vessels fill a tenth of a lung, so a mask with much more of it is
# misplaced.
TISSUE = 0.55
MAX_TISSUE = 0.25


def read_mask(path: Path, image: CaseImage, allowed: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read a mask onto its image's grid, (X, Y, Z) uint8.

    Raises:
        LabelError: values other than `allowed`. GeometryError: another shape or place. UnreadableFileError: as
            `read_label`.
    """
    mask = read_label(path, image)
    found = np.unique(mask)
    if not set(found.tolist()) <= set(allowed):
        shown = ", ".join(str(v) for v in found[:8]) + (", ..." if len(found) > 8 else "")
        how = f"the values here are {', '.join(map(str, allowed))}"
        if 255 in allowed:
            how += "; save masks as PNG, never JPEG, and do not resize them smoothly"
        raise LabelError(f"the mask holds the values {shown}", where=path, how=how)
    return mask


def with_reference_lung(
    lesion: NDArray[np.bool_], lung: NDArray[np.bool_], image: CaseImage, where: Path
) -> BuiltLabel:
    """Label from a lesion and a lung mask, (X, Y, Z) each; lesion wins, and the lung is taken to include it.

    Raises:
        LabelError: no lung at all, lesion outside the lung, or a lung mask that lies on tissue that is no lung.
    """
    if not lung.any():
        raise LabelError(
            "the label is all background: no voxel is lung", where=where, how="outline the lungs, or leave the case out"
        )
    notes = []
    outside = int(np.count_nonzero(lesion & ~lung))
    if outside:
        total = int(np.count_nonzero(lesion))
        if outside > MAX_OUTSIDE * total:
            raise LabelError(
                f"{outside} of {total} lesion voxels lie outside the lung",
                where=where,
                how="check that both masks are of this scan",
            )
        notes.append(f"{outside} of {total} lesion voxels lay outside the lung mask and were added to the lung")
    _check_on_lung(lung & ~lesion, image, where)
    label = lung.astype(np.uint8)
    label[lesion] = 2
    return BuiltLabel(label, "reference", tuple(notes))


def with_derived_lung(lesion: NDArray[np.bool_], image: CaseImage, where: Path) -> BuiltLabel:
    """Label from a lesion mask (X, Y, Z) alone, the lung derived from the image.

    Raises:
        LabelError: no lesion (an empty mask is more often a missing annotation), or no lung to be found.
    """
    if not lesion.any():
        raise LabelError(
            "the lesion mask is all background",
            where=where,
            how="leave the case out, or give a mask of lung (1) and lesion (2)",
        )
    scaled = scale_ct(image.array, image.intensity)
    lung = derive_lung_mask(scaled, lesion)
    if np.count_nonzero(lung & ~lesion) == 0:
        raise LabelError(
            "no lung was found in the image beside the lesion", where=where, how="give a lung mask, or leave it out"
        )
    label = lung.astype(np.uint8)
    label[lesion] = 2
    return BuiltLabel(label, "derived")


def check_agreement(first: NDArray[np.uint8], second: NDArray[np.uint8], where: Path) -> tuple[str, ...]:
    """Two masks that should be equal: nothing, a note on a few voxels, or a LabelError."""
    differing = int(np.count_nonzero(first != second))
    if not differing:
        return ()
    if differing > MAX_DISAGREEMENT * max(int(np.count_nonzero(first)), 1):
        raise LabelError(
            f"the joint mask differs from the lung and infection masks in {differing} voxels",
            where=where,
            how="take all three masks from one release of the dataset",
        )
    return (f"the joint mask differs from the two others in {differing} voxels; the two were taken",)


def _check_on_lung(aerated: NDArray[np.bool_], image: CaseImage, where: Path) -> None:
    values = image.array[aerated]
    part = float(np.mean(scale_ct(values, image.intensity) > TISSUE)) if values.size else 0.0
    if part > MAX_TISSUE:
        raise LabelError(
            f"{100 * part:.0f} % of what the mask calls lung without lesion is as dense as muscle",
            where=where,
            how="check that the mask is of this scan and not flipped",
        )
