"""Pictures that say whom they are of, when and where: in EXIF, XMP, IPTC, comments and texts."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image

# A name, a camera's owner, its serial number, a date, and a place (48° 12' 31" as EXIF's rationals of a hundred).
SECRETS = (b"Zzyzxova", b"Quillon", b"SN77120934", b"2019:08:23", struct.pack(">6I", 48, 1, 12, 1, 3141, 100))


def gps_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif.endian = ">"
    exif[274] = orientation
    exif[270], exif[315], exif[306] = "of Zzyzxova", "Quillon", "2019:08:23 10:11:12"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0xA430], details[0xA431] = "2019:08:23 10:11:12", "Quillon", "SN77120934"
    place = exif.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (48.0, 12.0, 31.41), "E", (16.0, 22.0, 7.5)
    return exif


def secret_segments(jpeg: bytes) -> bytes:
    """A JPEG with XMP, IPTC and a maker's segment behind its first two bytes' own."""
    bodies = {
        0xE1: b"http://ns.adobe.com/xap/1.0/\0<x>Zzyzxova</x>",
        0xED: b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0b\x1c\x02\x50\0\x07Quillon",
        0xE2: b"ICC_PROFILE\0\x01\x01Zzyzxova",
        0xEC: b"Ducky Quillon",
    }
    more = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", 2 + len(body)) + body for kind, body in bodies.items())
    first = 2 if jpeg[2:4] != b"\xff\xe0" else 4 + int(struct.unpack_from(">H", jpeg, 4)[0])
    return jpeg[:first] + more + jpeg[first:]


def secret_chunks(png: bytes) -> bytes:
    """A PNG with its time, a compressed text and a chunk that nobody knows, and something behind its end."""
    chunks = [(b"tIME", b"\x07\xe3\x08\x17\x0a\x0b\x0c"), (b"zTXt", b"Comment\0\0" + zlib.compress(b"Zzyzxova"))]
    chunks += [(b"prVt", b"Quillon")]
    more = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return png[:33] + more + png[33:] + b"Zzyzxova behind the end"


def tag_picture(path: Path, picture: Image.Image, orientation: int = 1) -> Path:
    """Write a picture with all that; the pixels are stored as they are given."""
    exif = gps_exif(orientation)
    if path.suffix == ".png":
        picture.save(path, exif=exif)
        path.write_bytes(secret_chunks(path.read_bytes()))
    elif path.suffix in (".jpg", ".jpeg"):
        picture.save(path, exif=exif, comment=b"of Zzyzxova", quality=95)
        path.write_bytes(secret_segments(path.read_bytes()))
    else:
        picture.save(path, exif=exif)
    return path
