"""A JPEG or PNG without what it says beside its picture (EXIF, XMP, IPTC, comments), and not a pixel of it changed."""

from __future__ import annotations

import struct
from pathlib import Path

from pipelines.errors import UnreadableFileError

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_JFIF, _ADOBE = 0xE0, 0xEE  # what an APP segment says of how the pixels are stored
_COMMENT = 0xFE
_RESTARTS = range(0xD0, 0xD8)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks of a PNG that a decoder needs, and numbers that say how it is shown.
_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"sBIT", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"IDAT", b"IEND")


def without_metadata(data: bytes, path: Path) -> bytes:
    """The same picture, its compressed pixels byte for byte, without EXIF (places, dates, owners, serial numbers), XMP,
    IPTC, comments, texts, colour profiles (the readers pass over them), previews, and what lies behind the end. What
    has nothing of the kind comes back as it is.

    Args:
        data: of a file that a reader took: a JPEG or PNG, stored upright, since its orientation goes too.
        path: of the file, for the error.

    Raises:
        UnreadableFileError: it is neither, or its parts do not follow one another.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _bare_jpeg(data)
        if data.startswith(_SIGNATURE):
            return _bare_png(data)
    except (IndexError, struct.error):
        raise UnreadableFileError(
            "the picture is truncated or damaged", where=path, how="copy or export it again"
        ) from None
    raise UnreadableFileError("is neither a JPEG nor a PNG", where=path, how="save the picture as PNG")


def _bare_jpeg(data: bytes) -> bytes:
    parts, at = [data[:2]], 2
    while True:
        at = _marker(data, at)
        kind = data[at + 1]
        if kind == _END:
            return b"".join([*parts, data[at : at + 2]])
        if kind == _START or kind in _RESTARTS:  # decoders pass over one that is out of place
            at += 2
            continue
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        segment = data[at:end]
        if kind == _SCAN:
            end = _behind_scan(data, end)
            parts.append(data[at:end])
        elif kind == _JFIF and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
            parts.append(b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0")  # without the preview that may follow
        elif kind == _ADOBE and segment[4:9] == b"Adobe" and len(segment) >= 16:
            parts.append(b"\xff\xee\x00\x0e" + segment[4:16])
        elif kind != _COMMENT and not 0xE0 <= kind <= 0xEF:
            parts.append(segment)
        at = end


def _marker(data: bytes, at: int) -> int:
    """Where the next marker begins; what lies before it, and bytes that fill, are passed over."""
    while data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
        at += 1
    return at


def _behind_scan(data: bytes, at: int) -> int:
    """Where the compressed pixels of a scan end."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise IndexError
        following = data[at + 1]
        if following != 0x00 and following != 0xFF and following not in _RESTARTS:
            return at
        at += 1 if following == 0xFF else 2


def _bare_png(data: bytes) -> bytes:
    parts, at = [_SIGNATURE], len(_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in _CHUNKS:
            parts.append(data[at:end])
        if kind == b"IEND":
            return b"".join(parts)
        at = end
