"""Saving a corrected mask: on the grid of the input, in ``corrected/`` and nowhere else, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.errors import LabelError, OutputError
from pipelines.files import FolderLock
from pipelines.predicted import CORRECTED
from pipelines.viewer.cases import Case
from pipelines.viewer.images import Shown

_LOCK = ".lock"


class Changed(OutputError):
    """Somebody else has saved the same mask since it was loaded."""


class Corrections:
    """Writes corrected masks, one at a time in this process and among all that write to the folder."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def save(
        self, case: Case, shown: Shown, mask: NDArray[np.uint8], labels: Mapping[int, str], base: str | None = None
    ) -> Path:
        """Save a mask as ``FOLDER/corrected/NAME_mask.nii.gz`` or ``.png``.

        Args:
            case: whose it is; an earlier correction of it is replaced, its prediction never touched.
            shown: its image.
            mask: in the page's order.
            labels: the values that it may have, with 0.
            base: ``version`` of the correction that it was made from; None for "whatever is there".

        Returns:
            The file.

        Raises:
            LabelError: another value than the labels'. OutputError: the folder cannot be written, another viewer is
            writing there, or the case's name or a link would lead out of ``corrected/``. Changed: there is another
            correction than ``base``.
        """
        known = {0, *labels}
        found = np.flatnonzero(np.bincount(mask.ravel(order="K"), minlength=256)).tolist()
        if not set(found) <= known:
            raise LabelError(
                f"the mask holds the values {found}", where=case.name, how=f"{sorted(known)} are the labels"
            )
        ending = "_mask.png" if shown.kind == "picture" else "_mask.nii.gz"
        home = case.folder / CORRECTED
        if not _is_below(case.name):
            raise OutputError(
                f"the case's name leads out of {CORRECTED}/", where=case.name, how="give the case another name"
            )
        target = home / f"{case.name}{ending}"
        with self._lock, _folder(home, target, case.folder), _told(target):
            if base is not None and base != version(target if target.is_file() else None):
                raise Changed(
                    "the corrected mask has been saved elsewhere since it was loaded",
                    where=target,
                    how="load it, and correct it again",
                )
            partial = target.with_name(f".{secrets.token_hex(8)}.part")
            try:
                # "x": a file that is there, or a link that was laid, is never written through
                with partial.open("xb") as file:
                    if shown.kind == "picture":
                        Image.fromarray(np.ascontiguousarray(mask[:, :, 0].T)).save(file, "PNG")
                    else:
                        file.write(_volume(case, shown, shown.to_file(mask)))
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        return target


def version(corrected: Path | None) -> str:
    """A mark of what is saved now: "none", or another one for each save."""
    if corrected is None:
        return "none"
    status = corrected.stat()
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def _is_below(name: str) -> bool:
    """Whether a case's name stays below the folder that it is put into, here and where backslashes part names."""
    parts = PurePath(name.replace("\\", "/")).parts
    return (
        bool(parts) and ".." not in parts and not PurePath(name).is_absolute() and parts[0] != "/" and "\0" not in name
    )


@contextlib.contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the mask cannot be saved ({error.strerror or error})",
            where=target,
            how="free space, or copy the folder to where you may write",
        ) from error


@contextlib.contextmanager
def _folder(home: Path, target: Path, root: Path) -> Iterator[None]:
    """Make the folder of a target, and hold its lock."""
    with _told(target):
        home.mkdir(exist_ok=True)
        for part in (home, *reversed([p for p in target.parents if p.is_relative_to(home) and p != home])):
            part.mkdir(exist_ok=True)
            if part.is_symlink() or not part.resolve().is_relative_to(root.resolve() / home.name):
                raise OutputError(
                    "a link leads out of the folder", where=part, how="remove it; corrected masks lie in the folder"
                )
    with contextlib.closing(FolderLock(home, _LOCK, option="folder", wait="save again in a moment")):
        yield


def _volume(case: Case, shown: Shown, mask: NDArray[np.uint8]) -> bytes:
    """As the mask that it corrects is stored (shape, affine, codes), or else as a plain NIfTI on the image's grid."""
    image: nib.Nifti1Image
    template = case.layers[0].path if case.layers else case.image
    named = template is not None and template.name.endswith((".nii", ".nii.gz")) and template.is_file()
    source = cast(nib.Nifti1Image, nib.load(template)) if named and template is not None else None
    if source is not None and _same_order(source, shown):
        header = source.header.copy()
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(1, 0)
        image = nib.Nifti1Image(np.ascontiguousarray(mask).reshape(source.shape), source.affine, header)
    else:
        image = nib.Nifti1Image(np.ascontiguousarray(mask), shown.grid.affine)
        image.header.set_xyzt_units("mm")
    image.header["cal_min"], image.header["cal_max"] = 0, 0
    return _gzipped(image.to_bytes())


def _same_order(source: nib.Nifti1Image, shown: Shown) -> bool:
    """Whether a file's voxels lie as the image's do: a label may be stored with its axes turned."""
    same = tuple(int(n) for n in source.shape if n > 1) == tuple(n for n in shown.grid.shape if n > 1)
    return same and np.allclose(source.affine, shown.grid.affine, atol=1e-3)


def _gzipped(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, compresslevel=4, mtime=0)
