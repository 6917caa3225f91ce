"""DICOM files as files: known by their first bytes, opened, and refused where they are none or cannot be decoded."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.readers.raw import file_size

SUFFIXES = (".dcm", ".dicom", ".ima", ".dic", ".dc3")

_AGAIN = "copy or export it again"
_DECODERS = {
    "JPEG-LS": "pyjpegls",
    "JPEG 2000": "pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg-openjpeg",
    "RLE": "pylibjpeg-rle",
    "JPEG": "python-gdcm",
}
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
# A file can be a program and DICOM at once (CVE-2019-11687); no scanner writes such.
_PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"\xfe\xed\xfa", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"PK\x03\x04")
_VRS = (b"UL", b"UI", b"CS", b"DA", b"TM", b"DT", b"SH", b"LO", b"OB", b"US", b"PN", b"ST", b"LT", b"UT", b"SQ")
_LONG_VRS = (b"OB", b"SQ", b"UT")
_LARGE = 2**16
_BOMB_BYTES, _BOMB_RATIO = 2**28, 250  # a deflated CT slice shrinks 2 to 20 times


def looks_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does: 128 bytes of anything and DICM, or a data set without that preamble, as old
    exporters write it. False where it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(512)
    except (OSError, ValueError):
        return False
    return head[128:132] == b"DICM" or begins_as_data_set(head)


def begins_as_data_set(head: bytes) -> bool:
    """Whether bytes begin with two data elements in order, of the groups that begin a DICOM data set (2 or 8)."""
    for order in "<>":
        place, before = 0, (0, 0)
        for number in range(2):
            if len(head) < place + 12:
                break
            tag = struct.unpack_from(f"{order}HH", head, place)
            if (tag <= before and number) or tag[0] not in ((2, 8) if number == 0 else (2, 8, 16)) or tag[1] > 0x2000:
                break
            vr = head[place + 4 : place + 6]
            if vr in _LONG_VRS:
                length, start = struct.unpack_from(f"{order}I", head, place + 8)[0], 12
            elif vr in _VRS:
                length, start = struct.unpack_from(f"{order}H", head, place + 6)[0], 8
            else:
                length, start = struct.unpack_from(f"{order}I", head, place + 4)[0], 8
            if length > 400 or (number == 0 and length % 2):
                break
            place, before = place + start + length, tag
        else:
            return True
    return False


def open_dataset(
    path: Path, tags: Sequence[str] | None = None, *, pixels: bool = True, defer: bool = False
) -> pydicom.FileDataset:
    """Open a file: with `tags` only these elements, without its pixels; else all of it, or all but the pixels; with
    `defer` what is large stays in the file until it is asked for.

    A data set without preamble or meta header is read if it is one. ``file_meta.TransferSyntaxUID`` is always there.

    Raises:
        UnreadableFileError: missing, empty, no DICOM, a program, truncated in its header, deflated into far more than
            an image, or compressed in a way that nothing here decodes.
    """
    size = file_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns about values that are judged by those who ask
            with path.open("rb") as file:
                head = file.read(512)
            if head.startswith(_PROGRAMS):
                raise UnreadableFileError(
                    "a program or archive hides in the DICOM preamble", where=path, how="do not open this file"
                )
            bare = head[128:132] != b"DICM"
            if bare and not begins_as_data_set(head):
                raise InvalidDicomError
            if not bare:
                syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
                if syntax is None:
                    raise UnreadableFileError("the file does not state its transfer syntax", where=path, how=_AGAIN)
                check_decoder(syntax, path)
                if syntax == DeflatedExplicitVRLittleEndian:
                    _check_deflated(path, size)
            dataset = pydicom.dcmread(
                path,
                stop_before_pixels=tags is not None or not pixels,
                specific_tags=None if tags is None else list(tags),
                force=bare,
                defer_size=_LARGE if defer else None,
            )
            if bare:
                _settle_syntax(dataset)
                check_decoder(dataset.file_meta.TransferSyntaxUID, path)
            return dataset
    except PipelinesError:
        raise
    except InvalidDicomError:
        raise UnreadableFileError("is not a DICOM file, whatever its name says", where=path, how=_AGAIN) from None
    except Exception as error:  # pydicom raises nearly anything on damaged files; its words may quote a patient's name
        fault = f"the DICOM header is truncated or damaged ({type(error).__name__})"
        raise UnreadableFileError(fault, where=path, how=_AGAIN) from None


def check_decoder(syntax: UID, path: Path) -> None:
    """Refuse pixel encodings that nothing installed can decode.

    Raises:
        UnreadableFileError: with the name of the encoding and of a package that decodes it.
    """
    if syntax in PLAIN:
        return
    try:
        decoder = get_decoder(UID(syntax))
    except NotImplementedError:
        shown = UID(syntax).name if UID(syntax).is_valid else "that it states"  # it may be anything, a name for one
        raise UnreadableFileError(
            f"the transfer syntax {shown} is not known", where=path, how="export it uncompressed"
        ) from None
    if not decoder.is_available:
        package = next((name for words, name in _DECODERS.items() if words in UID(syntax).name), "python-gdcm")
        raise UnreadableFileError(
            f"compressed as {UID(syntax).name}, for which no decoder is installed",
            where=path,
            how=f"pip install {package}, or export the series uncompressed",
        )


def _settle_syntax(dataset: pydicom.FileDataset) -> None:
    """A data set without meta header is in the encoding in which it could be read; its pixels are not compressed."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    implicit, little = dataset.original_encoding
    plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian


def _check_deflated(path: Path, size: int) -> None:
    """Measure what a deflated data set unpacks to, without keeping it: pydicom unpacks it whole, however large."""
    with path.open("rb") as file:
        file.seek(132)
        meta = file.read(12)
        if meta[:6] != b"\x02\x00\x00\x00UL":  # the group length, which the standard demands
            raise UnreadableFileError("the meta header has no length", where=path, how=_AGAIN)
        file.seek(144 + struct.unpack("<I", meta[8:])[0])
        unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while data := unpacker.unconsumed_tail or file.read(2**16):
            total += len(unpacker.decompress(data, 2**20))
            if total > max(_BOMB_BYTES, _BOMB_RATIO * size) or total > 2**31:
                raise UnreadableFileError(
                    f"{size} bytes unpack to more than {total}: a bomb, not a CT", where=path, how=_AGAIN
                )
        if not unpacker.eof:
            raise UnreadableFileError("the deflated data set is truncated", where=path, how=_AGAIN)
