"""Spoils a file by chance, the same way each time for the same number: mostly its head, where readers believe what is
stated. Formats whose check sums or packing would hide what is spoilt are unpacked first and sealed again."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

import nibabel as nib

Change = Callable[[bytes, Random], bytes]

_HEAD = 1024  # bytes; most changes fall here
_LONGEST = 2**20  # bytes that a change may add
_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536, 10**6, 2**24, 2**31 - 1,
            2**31, 2**32 - 1, 2**48, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_FLOATS = (0.0, -0.0, 1e-40, 1e-6, 1.0, -1.0, 1e6, 1e30, 3e38, -3e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = (b"", b"0", b"-1", b"1", b"1e400", b"-1e400", b"nan", b"NaN", b"inf", b"1e-320", b"99999999999", b"2147483648",
          b"65536", b"\\", b"\\\\\\", b"1\\2", b"1\\2\\3\\4\\5\\6\\7", b"0\\0", b"0\\0\\0\\0\\0\\0", b"1.5", b"1,5",
          b"a",
          b"%s%n", b"../../x", b"=1+1", b"\0", b"\xff\xfe", b"\xc3\x28", b" ", b"x" * 64, b"9" * 4000, b"1\\" * 3000,
          "Ä".encode(), b"ISO 2022 IR 149", b"ISO_IR 192", b"\x1b$)C\x80")  # fmt: skip
_VRS = (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"OB", b"OD", b"OF", b"OL",
        b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"SV", b"TM", b"UC", b"UI", b"UL", b"UN", b"UR", b"US",
        b"UT", b"UV", b"??", b"\0\0")  # fmt: skip
_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")


def mutated(kind: str, data: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """A spoilt copy.

    Args:
        kind: the format, as of `fuzz_inputs.originals`.
        others: files of the same format, parts of which are spliced in.
        chance: decides everything.
    """
    packed = data[:2] == b"\x1f\x8b" and chance.random() < 0.7
    inner = gzip.decompress(data) if packed else data
    own = _BY_FORMAT.get(kind)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        if own is not None and chance.random() < 0.6:
            inner = own(inner, chance)
        elif chance.random() < 0.1:
            inner = _spliced(inner, chance.choice(others), chance)
        else:
            inner = chance.choice(_ANYWHERE)(inner, chance)
    if kind == "png" and chance.random() < 0.7:
        inner = _sealed_png(inner)
    elif kind == "tar" and chance.random() < 0.7:
        inner = _sealed_tar(inner)
    return gzip.compress(inner, 1, mtime=0) if packed else inner


def _place(data: bytes, chance: Random) -> int:
    """Where to change something: four times in five in the head, else anywhere, or near the end."""
    if not data:
        return 0
    which = chance.random()
    if which < 0.8:
        return chance.randrange(min(len(data), chance.choice((64, 256, _HEAD, 4 * _HEAD))))
    return chance.randrange(len(data)) if which < 0.9 else max(0, len(data) - 1 - chance.randrange(256))


def _flip(data: bytes, chance: Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if made:
            made[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(made)


def _byte(data: bytes, chance: Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + bytes([chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))]) + data[at + 1 :]


def _number(data: bytes, chance: Random) -> bytes:
    """A whole number of 2, 4 or 8 bytes, in either order, in the place of what was there."""
    size, at = chance.choice((2, 4, 4, 8)), _place(data, chance)
    value = chance.choice(_NUMBERS) % 256**size
    return data[:at] + value.to_bytes(size, chance.choice(("little", "big"))) + data[at + size :]


def _cut(data: bytes, chance: Random) -> bytes:
    return data[: _place(data, chance)] if chance.random() < 0.5 else data[: chance.randrange(len(data) + 1)]


def _without(data: bytes, chance: Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 2, 4, 16, 200)) :]


def _inserted(data: bytes, chance: Random) -> bytes:
    at = _place(data, chance)
    more = chance.choice(
        (chance.randbytes(chance.randrange(1, 9)), bytes(chance.randrange(1, 600)), chance.choice(_TEXTS))
    )
    return data[:at] + more + data[at:]


def _again(data: bytes, chance: Random) -> bytes:
    at, size = _place(data, chance), chance.choice((4, 16, 64, 512))
    block = data[at : at + size]
    return data[:at] + block * min(chance.choice((2, 2, 3, 100)), _LONGEST // max(size, 1)) + data[at + size :]


def _digits(data: bytes, chance: Random) -> bytes:
    """One of the numbers that are written as text."""
    found = list(re.finditer(rb"-?\d+\.?\d*", data[: 8 * _HEAD]))
    if not found:
        return _number(data, chance)
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(_TEXTS) + data[one.end() :]


def _spliced(data: bytes, other: bytes, chance: Random) -> bytes:
    return data[: _place(data, chance)] + other[_place(other, chance) :]


_ANYWHERE: tuple[Change, ...] = (_flip, _flip, _byte, _number, _number, _cut, _without, _inserted, _again, _digits)


def _dicom(data: bytes, chance: Random) -> bytes:
    """An element of an explicit little-endian file: another value, VR or length, none, twice, or elsewhere."""
    elements = _elements(data)
    if not elements:
        return chance.choice(_ANYWHERE)(data, chance)
    start, value, end = chance.choice(elements)
    long = value - start == 12
    what = chance.randrange(7)
    if what <= 2:
        text = chance.choice((*_TEXTS, *(struct.pack("<H", n % 65536) for n in _NUMBERS[:16]), chance.randbytes(6)))
        if long or len(text) < 65534:
            text += b" " * (len(text) % 2)
            length = struct.pack("<I" if long else "<H", len(text))
            return data[: value - len(length)] + length + text + data[end:]
    if what == 3:
        return data[: start + 4] + chance.choice(_VRS) + data[start + 6 :]
    if what == 4:
        size = 4 if long else 2
        length = (chance.choice(_NUMBERS) % 256**size).to_bytes(size, "little")
        return data[: value - size] + length + data[value:]
    if what == 5:
        return data[:start] + data[end:]
    other = chance.choice(elements)
    moved = data[other[0] : other[2]]
    return data[:start] + (moved if chance.random() < 0.5 else moved * 50)[:_LONGEST] + data[start:]


def _elements(data: bytes) -> list[tuple[int, int, int]]:
    """Starts of tags and of values, and ends, of elements; those in sequences are among them."""
    found = []
    at = 132 if data[128:132] == b"DICM" else 0
    while at + 8 <= len(data) and len(found) < 2000:
        group, vr = struct.unpack_from("<H", data, at)[0], data[at + 4 : at + 6]
        if group == 0xFFFE:  # an item, or the end of one
            at += 8
            continue
        if not vr.isalpha() or not vr.isupper():
            break
        long = vr in _LONG_VRS
        value = at + (12 if long else 8)
        if value > len(data):
            break
        length = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))[0]
        if vr == b"SQ" or length == 2**32 - 1:
            found.append((at, value, value))
            at = value
            continue
        found.append((at, value, min(value + length, len(data))))
        at = value + length
    return found


def _nifti(data: bytes, chance: Random) -> bytes:
    """A field of the header."""
    header = nib.Nifti2Header if data[:4] == struct.pack("<i", 540) else nib.Nifti1Header
    fields = header.template_dtype.fields or {}
    kind, at = fields[chance.choice(sorted(fields))][:2]
    base, count = kind.subdtype or (kind, ())
    at += base.itemsize * chance.randrange(count[0] if count else 1)
    if base.kind == "f":
        new = struct.pack("<f" if base.itemsize == 4 else "<d", chance.choice(_FLOATS))
    else:
        new = (chance.choice(_NUMBERS) % 256**base.itemsize).to_bytes(base.itemsize, "little")
    return data[:at] + new + data[at + len(new) :]


def _lines(data: bytes, chance: Random) -> bytes:
    """A line of a header that is text."""
    if data[:4] not in (b"NRRD", b"Obje", b"NDim"):
        return _nifti(data, chance) if len(data) == 348 else chance.choice(_ANYWHERE)(data, chance)
    end = data.find(b"\n\n") if data[:4] == b"NRRD" else data.find(b"\n", data.find(b"ElementDataFile"))
    end = end if end > 0 else min(len(data), _HEAD)
    lines = data[:end].split(b"\n")
    at, what = chance.randrange(len(lines)), chance.randrange(6)
    if what == 0:
        del lines[at]
    elif what == 1:
        lines.insert(chance.randrange(len(lines) + 1), lines[at])
    elif what == 2:
        other = chance.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif what == 3:
        name = re.split(rb"[:=]", lines[at])[0]
        lines[at] = lines[at][: len(name) + 2] + chance.choice(_TEXTS)
    else:
        return _digits(data[:end], chance) + data[end:]
    return b"\n".join(lines) + data[end:]


def _sealed_png(data: bytes) -> bytes:
    """With the check sums that its chunks have now."""
    made, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        if at + 12 + length > len(data):
            break
        made += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return bytes(made + data[at:])


def _sealed_tar(data: bytes) -> bytes:
    """With the check sums that its headers have now."""
    made = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            block = bytes(made[at : at + 148]) + b" " * 8 + bytes(made[at + 156 : at + 512])
            made[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(made)


_BY_FORMAT: dict[str, Change] = {
    "dicom_series": _dicom,
    "dicom_file": _dicom,
    "nifti": _nifti,
    "nrrd_meta_analyze": _lines,
}
