"""The mark of generated pictures, in the picture file itself: text chunks of a PNG, which its name cannot change.

A copy keeps it; a program that writes the pixels anew, or another format, loses it, as any metadata.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from PIL.PngImagePlugin import PngInfo

KEY = "Synthetic"
SYNTHETIC_NOTE = "the file says that it is synthetic: a generator drew it, and it shows no patient"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT = (b"tEXt", b"iTXt")
_LARGEST = 4096  # bytes of a chunk that is looked into


def synthetic_mark(facts: Mapping[str, str]) -> PngInfo:
    """What PIL's ``save(…, pnginfo=)`` takes to mark a picture as synthetic; ``facts`` are further keys and texts."""
    info = PngInfo()
    for key, text in {KEY: "true", **facts}.items():
        info.add_text(key, text)
    return info


def is_synthetic(path: str | Path) -> bool:
    """Whether a file is a PNG, whatever its name, that is marked as synthetic. Reads the heads of its chunks; False of
    what cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return marked(file)
    except OSError:
        return False


def marked(file: IO[bytes]) -> bool:
    """The same of an open file."""
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return False
        if kind in _TEXT and length <= _LARGEST:
            key, _, text = file.read(length).partition(b"\0")
            if key == KEY.encode() and text.rpartition(b"\0")[2].strip().lower() == b"true":
                return True
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)
    return False
