"""The pixels of one DICOM slice in Hounsfield units."""

from __future__ import annotations

import warnings

import numpy as np
import pydicom
from pydicom.pixels import pixel_array
from scipy import ndimage

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError
from pipelines.readers.intensity import AIR_HU
from pipelines.readers.series_geometry import SliceHeader

# Padding that would lie among these values could be tissue, and counts as padding only where it reaches the picture's
# edge.
_TISSUE_HU = (-950.0, 3071.0)


def read_hounsfield(header: SliceHeader) -> tuple[np.ndarray, int]:
    """Read a slice's pixels with its own rescale; padding becomes air (-1024 HU).

    Returns:
        float32 (rows, columns), and how many pixels were padding.

    Raises:
        UnreadableFileError: pixel data missing, truncated or damaged, or more bits in use than the header states.
        IntensityError: a decoded value that is no number.
    """
    path = header.path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            if "PixelData" not in dataset:
                raise UnreadableFileError("the file holds no pixels", where=path, how="copy or export it again")
            if not dataset.file_meta.TransferSyntaxUID.is_compressed:
                expected = header.rows * header.columns * int(dataset.BitsAllocated) // 8
                if len(dataset.PixelData) < expected:
                    raise UnreadableFileError("the pixels are truncated", where=path, how="copy or export it again")
            # pydicom would drop unused bits before padding or overlays can be told from damage.
            stored = np.asarray(pixel_array(dataset, correct_unused_bits=False))
            padding = _padding(dataset, stored)
            stored = _stored_bits(dataset, stored, padding, header)
            slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
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
    hounsfield = (stored * slope + intercept).astype(np.float32)
    if not np.isfinite(hounsfield).all():
        raise IntensityError("the rescaled values are no numbers", where=path, how="give the original series")
    if padding is None:
        return hounsfield, 0
    padding = _only_surroundings(padding, hounsfield)
    hounsfield[padding] = AIR_HU
    return hounsfield, int(np.count_nonzero(padding))


def _padding(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Where the pixels hold PixelPaddingValue, or lie between it and PixelPaddingRangeLimit."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is None or isinstance(value, (bytes, str)):
        return None
    # Writers mix up the signed and unsigned reading of the same 16 bits.
    info = np.iinfo(stored.dtype)
    bounds = [_wrapped(int(value), info)]
    if limit is not None and not isinstance(limit, (bytes, str)):
        bounds.append(_wrapped(int(limit), info))
    mask = (stored >= min(bounds)) & (stored <= max(bounds))
    return mask if mask.any() else None


def _wrapped(value: int, info: np.iinfo) -> int:
    if info.min <= value <= info.max:
        return value
    return (value - int(info.min)) % 2**info.bits + int(info.min)


def _stored_bits(
    dataset: pydicom.Dataset, stored: np.ndarray, padding: np.ndarray | None, header: SliceHeader
) -> np.ndarray:
    """Drop overlays drawn into unused high bits; refuse high bits that nothing explains."""
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    allocated = stored.dtype.itemsize * 8
    if bits >= allocated:
        return stored
    signed = np.issubdtype(stored.dtype, np.signedinteger)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    outside = (stored < low) | (stored > high)
    if padding is not None:
        outside &= ~padding
    if not outside.any():
        return stored
    overlays = [group for group in range(0x6000, 0x6020, 2) if dataset.get((group, 0x0102))]
    if not any(int(dataset[group, 0x0102].value or 0) >= bits for group in overlays):
        raise UnreadableFileError(
            f"pixels use more than the {bits} bits that the header states",
            where=header.path,
            how="export the series again",
        )
    shift = allocated - bits
    cleaned = (stored << shift) >> shift  # arithmetic for signed values, so the sign is kept
    return cleaned if padding is None else np.where(padding, stored, cleaned)


def _only_surroundings(padding: np.ndarray, hounsfield: np.ndarray) -> np.ndarray:
    """Keep padding that cannot be tissue, and of the rest what is joined to the edge."""
    values = hounsfield[padding]
    if values.max() < _TISSUE_HU[0] or values.min() > _TISSUE_HU[1]:
        return padding
    edge = np.zeros_like(padding)
    edge[[0, -1], :] = True
    edge[:, [0, -1]] = True
    return np.asarray(ndimage.binary_propagation(edge & padding, mask=padding), dtype=bool)
