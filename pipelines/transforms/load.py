"""Dictionary transforms that load a CT case or a colour picture and its label, strictly (``pipelines.readers``)."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from pipelines.errors import GeometryError, LabelError
from pipelines.readers import PICTURE_AFFINE, read_case, read_colour, read_label, read_picture

logger = logging.getLogger(__name__)


class LoadCTd(MapTransform):
    """Loads NIfTI, a DICOM series folder or a picture as a MetaTensor (1, X, Y, Z), float32.

    A picture is a volume of one slice. ``meta`` holds ``intensity`` ("hu" or "display"), ``kind`` ("volume" or
    "picture"), ``notes``, ``filename_or_obj``, ``original_affine`` and ``spatial_shape``; the affine is RAS, in mm.

    Args:
        keys: whose values are paths.
        allow_missing_keys: leave out keys that a case does not have.

    Raises:
        PipelinesError: of the kind that names the fault (``pipelines.readers.read_case``).
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            case = read_case(d[key])
            for note in case.notes:
                logger.info("%s: %s", case.path, note)
            d[key] = _meta_tensor(
                case.array[None],
                case.affine,
                str(case.path),
                intensity=case.intensity,
                kind=case.kind,
                notes="; ".join(case.notes),
            )
        return d


class LoadPictured(MapTransform):
    """Loads a colour picture, upright, as a MetaTensor (3, W, H), float32, RGB 0..1.

    ``meta`` holds ``kind`` ("picture"), ``notes``, ``filename_or_obj`` and ``spatial_shape``. Grey pictures have three
    equal channels.

    Args:
        keys: whose values are paths.
        allow_missing_keys: leave out keys that a case does not have.

    Raises:
        PipelinesError: of the kind that names the fault (``pipelines.readers.read_colour``).
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            picture = read_colour(d[key])
            for note in picture.notes:
                logger.info("%s: %s", picture.path, note)
            array = picture.array.astype(np.float32)
            array /= 255
            notes = "; ".join(picture.notes)
            d[key] = _meta_tensor(array, PICTURE_AFFINE, str(picture.path), kind=picture.kind, notes=notes)
        return d


class LoadGreyd(MapTransform):
    """Loads a grey picture of any size, upright, as a MetaTensor (1, W, H), float32, 0..1.

    ``meta`` as ``LoadPictured`` gives it. Grey content in colour channels becomes one.

    Args:
        keys: whose values are paths.
        allow_missing_keys: leave out keys that a case does not have.

    Raises:
        PipelinesError: of the kind that names the fault (``pipelines.readers.read_picture``).
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            path = Path(d[key])
            picture = read_picture(path, smallest=1)
            for note in picture.notes:
                logger.info("%s: %s", path, note)
            array = picture.array[None, :, :, 0] / np.float32(255)
            d[key] = _meta_tensor(array, PICTURE_AFFINE, str(path), kind="picture", notes="; ".join(picture.notes))
        return d


class LoadLabeld(MapTransform):
    """Loads a label map as a MetaTensor (1, X, Y, Z), uint8, and holds it against the image that is loaded already.

    Of a picture that was loaded as (3, W, H) the label is (1, W, H).

    Args:
        keys: whose values are paths of label files.
        image_key: a loaded image (``LoadCTd``, ``LoadPictured``) whose grid the label must share.
        values: the values a label may hold (0 background, 1 lung, 2 lesion).

    Raises:
        LabelError: a value outside ``values``.
        GeometryError: shape or affine differ from the image's.
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
            array = read_label(d[key])
            if image.ndim == 3:
                array = array[:, :, 0]
            if array.shape != tuple(image.shape[1:]):
                raise GeometryError(
                    f"the label's shape {array.shape} is not the image's {tuple(image.shape[1:])}",
                    where=d[key],
                    how="prepare the data again",
                )
            unseen = sorted(set(np.unique(array).tolist()) - set(self.values))
            if unseen:
                raise LabelError(f"label values {unseen} are not among {list(self.values)}", where=d[key])
            d[key] = _meta_tensor(array[None], image.affine.numpy(), str(d[key]))
        return d


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
