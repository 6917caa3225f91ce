"""The strict readers as one of MONAI's: ``LoadImaged`` of any config reads by them, and falls back on nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys

from pipelines.errors import GeometryError, UsageError
from pipelines.readers import read_label_image
from pipelines.readers.address import is_address
from pipelines.readers.kinds import OTHER, is_folder, kind_of
from pipelines.transforms.load import LoadCTd, LoadPictured, LoadVolumed, LoadXrayd

logger = logging.getLogger(__name__)

Kind = Literal["volume", "ct", "picture", "xray", "label"]
_LOADERS = {"volume": LoadVolumed, "ct": LoadCTd, "picture": LoadPictured, "xray": LoadXrayd}


class _Image(NamedTuple):
    """One file: channels first, its affine, and what the meta says of it."""

    array: np.ndarray
    affine: np.ndarray
    meta: dict[str, Any]


class StrictReader(ImageReader):
    """Reads what ``LoadVolumed`` and its like read, by the same checks: NIfTI, NRRD, MetaImage, Analyze, a DICOM series
    (a folder, a file, ``FOLDER::SERIES``), an archive (``ARCHIVE``, ``ARCHIVE::INSIDE``), or a picture.

    ``LoadImaged(keys="image", reader="pipelines.transforms.StrictReader")``; with ``kind="ct"`` beside it, or an object
    of this class as the reader, another kind. What is refused raises its `PipelinesError` out of ``LoadImaged``, which
    would otherwise hand the file to MONAI's readers, and these do not see the fault.

    The array is that of the transform: float32 (X, Y, Z), or (W, H) and (3, W, H) of pictures, uint8 of labels; of
    several files, which must share one grid, their stack, channels first. ``affine`` is RAS, in mm, whatever the file
    is; the meta says so by ``space``, and holds ``spatial_shape``, ``original_channel_dim``, ``original_affine``,
    ``kind`` and ``notes``.

    Args:
        kind: what an image is read as: "volume" (values may mean anything, `LoadVolumed`), "ct" (Hounsfield units or
            0..255, `LoadCTd`), "picture" (RGB 0..1, `LoadPictured`), "xray" (grey 0..1, `LoadXrayd`), or "label" (whole
            numbers; `LoadLabeld` also holds it against its image).

    Raises:
        UsageError: no such kind, or a parameter of another reader.
    """

    def __init__(self, kind: Kind = "volume", **unknown: Any) -> None:
        super().__init__()
        if unknown:  # at a TypeError, ``LoadImage`` would go on with the defaults
            raise UsageError(f"StrictReader has no {', '.join(sorted(unknown))}", how="leave that out of LoadImaged")
        if kind != "label" and kind not in _LOADERS:
            raise UsageError(f"there is no kind {kind!r}", how=f"choose one of {', '.join([*_LOADERS, 'label'])}")
        self.kind = kind

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Whether these are files or folders of a kind that is read, for a ``LoadImage`` that chooses among readers."""
        paths = [Path(each) for each in _each(filename)]
        return all(is_folder(path) or is_address(path) or kind_of(path) not in (None, OTHER) for path in paths)

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> list[_Image | Exception]:
        """Read each file. A fault is kept until `get_data` is called: if this raised, ``LoadImage`` would try other
        readers.

        Args:
            data: a path, or several.
            kwargs: not used.
        """
        return [self._read(Path(each)) for each in _each(data)]

    def get_data(self, img: Sequence[_Image | Exception]) -> tuple[np.ndarray, dict[str, Any]]:
        """The array and the meta of what `read` gave.

        Raises:
            PipelinesError: of the kind that names the fault, of the first file that has one.
            GeometryError: several files do not share one grid.
        """
        images = []
        for each in img:
            if isinstance(each, Exception):
                raise each
            images.append(each)
        first = images[0]
        for each in images[1:]:
            same = each.array.shape[1:] == first.array.shape[1:]
            if not same or not np.allclose(each.affine, first.affine, atol=1e-3):
                raise GeometryError(
                    f"lies on another grid than {first.meta['filename_or_obj']}, of which it is a channel",
                    where=each.meta["filename_or_obj"],
                    how="resample it, or load each under a key of its own",
                )
        array = first.array if len(images) == 1 else np.concatenate([each.array for each in images])
        plain = array.shape[0] == 1  # MONAI's readers give one channel as none
        return array[0] if plain else array, {
            **first.meta,
            "notes": "; ".join(each.meta["notes"] for each in images if each.meta["notes"]),
            MetaKeys.AFFINE: first.affine,
            MetaKeys.ORIGINAL_AFFINE: first.affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.asarray(array.shape[1:]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan") if plain else 0,
            MetaKeys.SPACE: SpaceKeys.RAS,
        }

    def _read(self, path: Path) -> _Image | Exception:
        notes: Sequence[str]
        try:
            if self.kind == "label":
                label = read_label_image(path)
                array, affine, notes = label.array[None], label.affine, label.notes
                meta: dict[str, Any] = {"kind": label.kind}
            else:
                array, affine, notes, meta = _LOADERS[self.kind]("image").read(path)
        except Exception as error:  # also what nobody expects: no other reader may take the file for it
            return error
        for note in notes:
            logger.info("%s: %s", path, note)
        meta = {**meta, "notes": "; ".join(notes), "filename_or_obj": str(path)}
        return _Image(array, np.asarray(affine, dtype=np.float64), meta)


def _each(given: Sequence[Any] | Any) -> list[Any]:
    return [given] if isinstance(given, (str, os.PathLike)) else list(given)
