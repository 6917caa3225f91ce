"""What compressed pixels state of themselves and decoders believe: looked at before anything is decoded, or a few bytes
would take minutes and gigabytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.encaps import generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSTransferSyntaxes

from pipelines.errors import UnreadableFileError

_MOST_COMPONENTS = 4
_END, _BEHIND = b"\xff\xd9", 18  # bytes, the marker and what pads it to be even, or more by odd encoders
_AGAIN = "copy or export it again"
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers of JPEG without a length
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # of 0xC0 to 0xCF those that begin no frame


def check_streams(dataset: pydicom.FileDataset, path: Path) -> None:
    """Hold the size that each compressed frame (JPEG, JPEG-LS, JPEG 2000) states against Rows and Columns, and see that
    JPEG-LS has its end: CharLS looks for one for many seconds.

    Raises:
        UnreadableFileError: one differs, has more than four components, or no end.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian or "PixelData" not in dataset:
        return
    for frame in _begun(dataset, path):
        stated = stated_size(frame)
        due = int(dataset.Rows), int(dataset.Columns)
        if stated is not None and (stated[:2] != due or stated[2] > _MOST_COMPONENTS):
            raise UnreadableFileError(
                f"its compressed pixels are {stated[1]} x {stated[0]} with {stated[2]} components, and its header "
                f"states {due[1]} x {due[0]}",
                where=path,
                how=_AGAIN,
            )
        if syntax in JPEGLSTransferSyntaxes and _END not in frame[-_BEHIND:]:
            raise UnreadableFileError(
                "the pixels are truncated or damaged (the JPEG-LS stream has no end)", where=path, how=_AGAIN
            )


def _begun(dataset: pydicom.FileDataset, path: Path) -> Iterator[bytes]:
    """The frames, as far as they can be told apart: the decoder refuses what cannot."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    element = dataset.get_item("PixelData", keep_deferred=True)
    place = 0
    if isinstance(element, RawDataElement) and element.value is None:  # deferred: it is still in the file
        place = element.value_tell
    with path.open("rb") if place else BytesIO(dataset.PixelData) as source:
        source.seek(place)
        extended = None
        if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
            extended = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
        parts = generate_frames(source, number_of_frames=frames, extended_offsets=extended)
        for _ in range(frames):
            try:
                yield next(parts)
            except Exception:  # pydicom raises nearly anything on damaged files
                return


def stated_size(stream: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components that a JPEG, JPEG-LS or JPEG 2000 stream begins with; None where it states none
    (RLE, or damaged), or not yet how many rows there are (JPEG's DNL)."""
    if stream[:4] == b"\xff\x4f\xff\x51" and len(stream) >= 42:
        across, down, left, top = struct.unpack_from(">4I", stream, 8)
        return max(down - top, 0), max(across - left, 0), struct.unpack_from(">H", stream, 40)[0]
    if stream[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(stream):
        if stream[at] != 0xFF:
            return None
        marker = stream[at + 1]
        if marker == 0xFF or marker in _ALONE:  # a filling byte, or nothing but the marker
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES):
            rows, columns, components = struct.unpack_from(">HHB", stream, at + 5)
            return (rows, columns, components) if rows else None
        at += 2 + struct.unpack_from(">H", stream, at + 2)[0]
    return None
