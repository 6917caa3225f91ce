"""Pictures in the prepared folder: the raw file without its metadata where it can be, else what it shows as PNG."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.errors import UnreadableFileError
from pipelines.readers import read_colour
from pipelines.readers.bare_picture import without_metadata

COPIED = {"JPEG": ".jpg", "PNG": ".png"}  # upright 8-bit RGB of these formats


def write_picture(source: Path, digest: str, copied: bool, path: Path) -> None:
    """Write a picture that was checked: a copy without metadata, or 8-bit RGB PNG, upright.

    Raises:
        UnreadableFileError: it is not the file with this SHA-256 any more.
    """
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UnreadableFileError(f"cannot be read any more ({error.strerror})", where=source) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise changed(source)
    if copied:
        path.write_bytes(without_metadata(data, source))
    else:
        Image.fromarray(np.ascontiguousarray(read_colour(source).array.transpose(2, 1, 0))).save(path)


def changed(path: Path) -> UnreadableFileError:
    """The error for an image that is no longer what was checked."""
    return UnreadableFileError("the image changed while it was being prepared", where=path, how="prepare it again")
