"""The pixels of one DICOM slice in Hounsfield units."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.pixels import iter_pixels, pixel_array
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from scipy import ndimage

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError
from pipelines.readers.codestream import check_streams
from pipelines.readers.decoder_words import damage_raised
from pipelines.readers.dicom_file import open_dataset
from pipelines.readers.intensity import AIR_HU
from pipelines.readers.slice_header import SliceHeader

# Padding that would lie among these values could be tissue, and counts as padding only where it reaches the picture's
# edge.
_TISSUE_HU = (-950.0, 3071.0)
# What CT values of a chest lie between, where bits beyond the stated ones belong to them: air, and bone or metal.
_CT_HU = (-1100.0, 3071.0)
# Of the neighbours whose high bits differ, this share may look as though the value had run over.
_OVERRUN_SHARE = 0.01
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class SlicePixels(NamedTuple):
    """float32 (rows, columns) in Hounsfield units; how many pixels were padding; whether unused bits were dropped."""

    hounsfield: np.ndarray
    padded: int
    dropped_bits: bool


def read_slices(headers: Sequence[SliceHeader]) -> Iterator[SlicePixels]:
    """The pixels of slices in their order, one slice and one file (of several frames: one frame) in memory at a time.

    Nothing is decoded in threads: the decoders hold Python's lock (``benchmarks/series_memory.py`` measures it).

    Raises:
        UnreadableFileError, IntensityError: as `read_hounsfield`; a file that cannot be opened any more.
    """
    counts = Counter(header.path for header in headers)
    for path, run in groupby(headers, key=lambda header: header.path):
        slices, frames = list(run), None
        dataset = open_dataset(path, defer=counts[path] > 1)
        # What has no preamble, or is unpacked as a whole, cannot be read in parts.
        whole = dataset.preamble is None or dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
        if counts[path] > 1 and not whole:
            frames = _frames(dataset, slices)
        for header in slices:
            yield read_hounsfield(dataset, header, frames)


def _frames(dataset: pydicom.FileDataset, slices: Sequence[SliceHeader]) -> Iterator[np.ndarray]:
    """Stored pixels of some frames of a file, read one at a time."""
    path = slices[0].path
    check_streams(dataset, path)
    yield from iter_pixels(path, indices=[each.frame for each in slices], correct_unused_bits=False)


def read_hounsfield(
    dataset: pydicom.FileDataset, header: SliceHeader, frames: Iterator[np.ndarray] | None = None
) -> SlicePixels:
    """A slice's pixels with its own rescale; padding becomes air (-1024 HU).

    Args:
        dataset: the file that the header is of.
        frames: gives the slice's stored pixels next, where not the whole file is to be held in memory.

    Raises:
        UnreadableFileError: pixel data missing, truncated or damaged, or more bits in use than the header states.
        IntensityError: a decoded value that is no number.
    """
    path = header.path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_complete(dataset, header, frames is None)
            # pydicom would drop unused bits before padding or overlays can be told from damage.
            with damage_raised(dataset.file_meta.TransferSyntaxUID):
                if frames is not None:
                    stored = np.asarray(next(frames))
                else:
                    index = header.frame if int(dataset.get("NumberOfFrames") or 1) > 1 else None
                    stored = np.asarray(pixel_array(dataset, index=index, correct_unused_bits=False))
            padding, dropped = None, False
            if stored.dtype.kind in "iu":
                padding = _padding(dataset, stored)
                stored, dropped = _stored_bits(dataset, stored, padding, header)
    except PipelinesError:
        raise
    except Exception as error:  # pydicom and its decoders raise nearly anything on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFileError(
            f"the pixels are truncated or damaged ({reason})", where=path, how="copy or export it again"
        ) from None
    if stored.shape != (header.rows, header.columns):
        raise UnreadableFileError(
            f"the pixels have the shape {stored.shape}, the header says {(header.rows, header.columns)}",
            where=path,
            how="copy or export it again",
        )
    hounsfield = (stored * header.slope + header.intercept).astype(np.float32)
    if not np.isfinite(hounsfield).all():
        raise IntensityError("the rescaled values are no numbers", where=path, how="give the original series")
    if (smeared := _smeared_padding(dataset, stored, hounsfield, header)) is not None:
        padding = smeared
    if padding is None:
        return SlicePixels(hounsfield, 0, dropped)
    padding = _only_surroundings(padding, hounsfield)
    hounsfield[padding] = AIR_HU
    return SlicePixels(hounsfield, int(np.count_nonzero(padding)), dropped)


def _check_complete(dataset: pydicom.FileDataset, header: SliceHeader, alone: bool) -> None:
    """pydicom gives what there is of pixels that were cut off, or raises what tells nobody what is wrong."""
    keyword = next((name for name in _PIXELS if name in dataset), None)
    again = "copy or export it again"
    if keyword is None:
        raise UnreadableFileError("the file holds no pixels", where=header.path, how=again)
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        frames = int(dataset.get("NumberOfFrames") or 1)
        expected = header.rows * header.columns * frames * int(dataset.BitsAllocated) // 8
        if _stored_bytes(dataset, keyword) < expected:
            raise UnreadableFileError("the pixels are truncated", where=header.path, how=again)
    elif alone:
        check_streams(dataset, header.path)


def _stored_bytes(dataset: pydicom.FileDataset, keyword: str) -> int:
    """How many bytes of pixels there are; those that are still in the file are not read for it."""
    element = dataset.get_item(keyword, keep_deferred=True)
    if isinstance(element, pydicom.dataelem.RawDataElement) and element.value is None:
        left = Path(str(dataset.filename)).stat().st_size - element.value_tell
        return min(element.length, left)
    return len(dataset[keyword].value)


def _padding(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Where the pixels hold PixelPaddingValue, or lie between it and PixelPaddingRangeLimit."""
    bounds = _padding_bounds(dataset, stored.dtype)
    if bounds is None:
        return None
    mask = (stored >= bounds[0]) & (stored <= bounds[1])
    return mask if mask.any() else None


def _padding_bounds(dataset: pydicom.Dataset, dtype: np.dtype) -> tuple[int, int] | None:
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is None or isinstance(value, (bytes, str)):
        return None
    # Writers mix up the signed and unsigned reading of the same 16 bits.
    info = np.iinfo(dtype)
    bounds = [_wrapped(int(value), info)]
    if limit is not None and not isinstance(limit, (bytes, str)):
        bounds.append(_wrapped(int(limit), info))
    return min(bounds), max(bounds)


def _smeared_padding(
    dataset: pydicom.Dataset, stored: np.ndarray, hounsfield: np.ndarray, header: SliceHeader
) -> np.ndarray | None:
    """Lossy compression changes padding too: where its value lies below air, all that lies below air is padding."""
    lossy = dataset.file_meta.TransferSyntaxUID in _LOSSY or str(dataset.get("LossyImageCompression")) == "01"
    bounds = _padding_bounds(dataset, stored.dtype) if lossy and stored.dtype.kind in "iu" else None
    if bounds is None or max(bound * header.slope + header.intercept for bound in bounds) >= AIR_HU:
        return None
    below = hounsfield < AIR_HU
    return below if below.any() else None


def _wrapped(value: int, info: np.iinfo) -> int:
    if info.min <= value <= info.max:
        return value
    return (value - int(info.min)) % 2**info.bits + int(info.min)


def _stored_bits(
    dataset: pydicom.Dataset, stored: np.ndarray, padding: np.ndarray | None, header: SliceHeader
) -> tuple[np.ndarray, bool]:
    """Drop what unused high bits hold, overlays or anything else: the low bits are the pixel (PS3.5 8.1.1). Refused
    where those bits belong to the values and the header is wrong about them."""
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    allocated = stored.dtype.itemsize * 8
    if bits >= allocated:
        return stored, False
    signed = np.issubdtype(stored.dtype, np.signedinteger)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    outside = (stored < low) | (stored > high)
    if padding is not None:
        outside &= ~padding
    if not outside.any():
        return stored, False
    shift = allocated - bits
    cleaned = (stored << shift) >> shift  # arithmetic for signed values, so the sign is kept
    overlays = [group for group in range(0x6000, 0x6020, 2) if dataset.get((group, 0x0102))]
    explained = any(int(dataset[group, 0x0102].value or 0) >= bits for group in overlays)
    if not explained and _bits_belong(dataset, stored, cleaned, bits, header):
        raise UnreadableFileError(
            f"pixels use more than the {bits} bits that the header states",
            where=header.path,
            how="export the series again",
        )
    return (cleaned if padding is None else np.where(padding, stored, cleaned)), not explained


def _bits_belong(
    dataset: pydicom.Dataset, stored: np.ndarray, cleaned: np.ndarray, bits: int, header: SliceHeader
) -> bool:
    """Whether the bits beyond the stated ones are part of the values."""
    if int(dataset.get("HighBit") or bits - 1) != bits - 1:  # stored in the upper bits, as before DICOM
        return True
    low, high = (float(extreme) * header.slope + header.intercept for extreme in (stored.min(), stored.max()))
    if _CT_HU[0] <= low < -500 and high <= _CT_HU[1]:
        return True
    # Where a value runs over into the next bit, neighbours are near each other with that bit and far apart without it.
    whole, part, half = stored.astype(np.int64), cleaned.astype(np.int64), 2 ** (bits - 1)
    overrun = differ = 0
    for axis in (0, 1):
        apart = np.abs(np.diff(part, axis=axis))
        changed = np.diff(whole - part, axis=axis) != 0
        differ += int(np.count_nonzero(changed))
        overrun += int(np.count_nonzero(changed & (np.abs(np.diff(whole, axis=axis)) < half) & (apart > half)))
    return overrun > _OVERRUN_SHARE * differ


def _only_surroundings(padding: np.ndarray, hounsfield: np.ndarray) -> np.ndarray:
    """Keep padding that cannot be tissue, and of the rest what is joined to the edge."""
    values = hounsfield[padding]
    if values.max() < _TISSUE_HU[0] or values.min() > _TISSUE_HU[1]:
        return padding
    edge = np.zeros_like(padding)
    edge[[0, -1], :] = True
    edge[:, [0, -1]] = True
    return np.asarray(ndimage.binary_propagation(edge & padding, mask=padding), dtype=bool)
