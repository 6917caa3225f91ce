"""Dictionary transforms that load a CT case, a volume of any values, a chest X-ray or a colour picture, and its label,
strictly (``pipelines.readers``)."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from pipelines.errors import LabelError, UsageError
from pipelines.readers import (
    PICTURE_AFFINE,
    CaseImage,
    ColourPicture,
    XrayPicture,
    case_in_memory,
    colour_in_memory,
    read_case,
    read_colour,
    read_label_noted,
    read_volume,
    read_xray,
    volume_in_memory,
    xray_in_memory,
)
from pipelines.readers.raw import Grid

logger = logging.getLogger(__name__)


class _LoadImaged(MapTransform):
    """Replaces paths, or what ``take`` made of images in memory, by MetaTensors; logs what was changed while reading.

    Args:
        keys: whose values are paths.
        allow_missing_keys: leave out keys that a case does not have.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            given = Path(d[key]) if isinstance(d[key], (str, os.PathLike)) else d[key]
            path = given if isinstance(given, Path) else given.path
            array, affine, notes, meta = self.read(given)
            for note in notes:
                logger.info("%s: %s", path, note)
            d[key] = _meta_tensor(array, affine, str(path), notes="; ".join(notes), **meta)
        return d

    def read(self, given: Any) -> tuple[np.ndarray, np.ndarray, Sequence[str], dict[str, Any]]:
        """Channels first, the affine, notes, and what else the meta says; of a path, or of what ``take`` returned."""
        raise NotImplementedError

    def take(
        self, image: Any, *, affine: np.ndarray | None = None, spacing: Sequence[float] | None = None
    ) -> CaseImage | ColourPicture | XrayPicture:
        """An image in memory as this transform reads a file (``pipelines.readers.in_memory``)."""
        raise NotImplementedError


class LoadCTd(_LoadImaged):
    """Loads NIfTI, a DICOM series folder or a picture as a MetaTensor (1, X, Y, Z), float32.

    A picture is a volume of one slice. ``meta`` holds ``intensity`` ("hu" or "display"), ``kind`` ("volume" or
    "picture"), ``notes``, ``filename_or_obj``, ``original_affine`` and ``spatial_shape``; the affine is RAS, in mm.

    Args:
        keys, allow_missing_keys: as MONAI's.

    Raises:
        PipelinesError: of the kind that names the fault (``pipelines.readers.read_case``).
    """

    def read(self, given: Any) -> tuple[np.ndarray, np.ndarray, Sequence[str], dict[str, Any]]:
        case = read_case(given) if isinstance(given, Path) else given
        meta = {"intensity": case.intensity, "kind": case.kind, "orientation": case.orientation}
        return case.array[None], case.affine, case.notes, meta

    def take(
        self, image: Any, *, affine: np.ndarray | None = None, spacing: Sequence[float] | None = None
    ) -> CaseImage:
        return case_in_memory(image, affine=affine, spacing=spacing)


class LoadVolumed(_LoadImaged):
    """Loads a volume whose values may mean anything (MR, CT, ultrasound) as a MetaTensor (1, X, Y, Z), float32.

    NIfTI, NRRD, MetaImage, Analyze, or a DICOM series of CT. Everything is checked as ``LoadCTd`` does, but whether the
    values are Hounsfield units: they are as stored, and the bundle scales them. ``meta`` as ``LoadCTd`` gives it, with
    the kind "volume" and the intensity "any"; the affine is RAS, in mm, and the axes are the file's.

    Args:
        keys, allow_missing_keys: as MONAI's.

    Raises:
        PipelinesError: of the kind that names the fault (``pipelines.readers.read_volume``).
    """

    def read(self, given: Any) -> tuple[np.ndarray, np.ndarray, Sequence[str], dict[str, Any]]:
        case = read_volume(given) if isinstance(given, Path) else given
        meta = {"intensity": case.intensity, "kind": case.kind, "orientation": case.orientation}
        return case.array[None], case.affine, case.notes, meta

    def take(
        self, image: Any, *, affine: np.ndarray | None = None, spacing: Sequence[float] | None = None
    ) -> CaseImage:
        return volume_in_memory(image, affine=affine, spacing=spacing)


class LoadPictured(_LoadImaged):
    """Loads a colour picture, upright, as a MetaTensor (3, W, H), float32, RGB 0..1.

    ``meta`` holds ``kind`` ("picture"), ``notes``, ``filename_or_obj`` and ``spatial_shape``. Grey pictures have three
    equal channels.

    Args:
        keys, allow_missing_keys: as MONAI's.

    Raises:
        PipelinesError: of the kind that names the fault (``pipelines.readers.read_colour``).
    """

    def read(self, given: Any) -> tuple[np.ndarray, np.ndarray, Sequence[str], dict[str, Any]]:
        picture = read_colour(given) if isinstance(given, Path) else given
        array = picture.array.astype(np.float32)
        array /= 255
        return array, PICTURE_AFFINE, picture.notes, {"kind": picture.kind, "orientation": picture.orientation}

    def take(
        self, image: Any, *, affine: np.ndarray | None = None, spacing: Sequence[float] | None = None
    ) -> ColourPicture:
        _no_grid(affine, spacing)
        return colour_in_memory(image)


class LoadXrayd(_LoadImaged):
    """Loads a frontal chest X-ray of any size, upright, as a MetaTensor (1, W, H), float32, grey 0..1, air dark.

    ``meta`` as ``LoadPictured`` gives it. Grey content in colour channels becomes one.

    Args:
        keys, allow_missing_keys: as MONAI's.

    Raises:
        PipelinesError: of the kind that names the fault (``pipelines.readers.read_xray``).
    """

    def read(self, given: Any) -> tuple[np.ndarray, np.ndarray, Sequence[str], dict[str, Any]]:
        picture = read_xray(given) if isinstance(given, Path) else given
        return picture.array[None] / np.float32(255), PICTURE_AFFINE, picture.notes, {"kind": "picture"}

    def take(
        self, image: Any, *, affine: np.ndarray | None = None, spacing: Sequence[float] | None = None
    ) -> XrayPicture:
        _no_grid(affine, spacing)
        return xray_in_memory(image)


class LoadLabeld(MapTransform):
    """Loads a label map as a MetaTensor (1, X, Y, Z), uint8, on the grid of the image that is loaded already.

    Voxel axes that are stored in another order or direction than the image's are turned onto them, as is the mask of a
    picture that lies on its side as the picture did; what lies elsewhere is refused (``pipelines.readers.read_label``).
    Of a picture that was loaded as (3, W, H) the label is (1, W, H).

    Args:
        keys: whose values are paths of label files.
        image_key: a loaded image (``LoadCTd``, ``LoadVolumed``, ``LoadPictured``) whose grid the label must share.
        values: the values that a label may hold.

    Raises:
        LabelError: a value outside ``values``.
        GeometryError: shape, spacing or place differ from the image's, or nobody can know which way up the label is.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        values: tuple[int, ...] = (0, 1, 2),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.values = tuple(values)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        image = d[self.image_key]
        for key in self.key_iterator(d):
            array, notes = read_label_noted(d[key], _grid_of(image))
            for note in notes:
                logger.info("%s: %s", d[key], note)
            if image.ndim == 3:
                array = array[:, :, 0]
            unseen = sorted(set(np.unique(array).tolist()) - set(self.values))
            if unseen:
                raise LabelError(f"label values {unseen} are not among {list(self.values)}", where=d[key])
            d[key] = _meta_tensor(np.ascontiguousarray(array)[None], image.affine.numpy(), str(d[key]))
        return d


def _no_grid(affine: np.ndarray | None, spacing: Sequence[float] | None) -> None:
    if affine is not None or spacing is not None:
        raise UsageError("this bundle looks at pictures, which have no grid", how="leave out affine and spacing")


def _grid_of(image: MetaTensor) -> Grid:
    """The grid of a loaded image, (C, X, Y, Z) or a picture's (C, W, H)."""
    x, y, z = (*image.shape[1:], 1)[:3]
    meta = image.meta
    name = Path(str(meta[ImageMetaKey.FILENAME_OR_OBJ])).name
    return Grid((x, y, z), image.affine.numpy(), meta["kind"], name, meta.get("orientation", 1))


def _meta_tensor(array: np.ndarray, affine: np.ndarray, path: str, **meta: Any) -> MetaTensor:
    """A tensor with its channels first, and what later steps ask its meta for."""
    affine_tensor = torch.as_tensor(np.asarray(affine), dtype=torch.float64)
    return MetaTensor(
        torch.from_numpy(array),
        affine=affine_tensor,
        meta={
            ImageMetaKey.FILENAME_OR_OBJ: path,
            "original_affine": affine_tensor.clone(),
            "spatial_shape": np.asarray(array.shape[1:]),
            "original_channel_dim": float("nan"),
            "space": "RAS",
            **meta,
        },
    )
