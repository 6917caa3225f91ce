"""DICOM files that are one picture: chest X-rays (CR, DX) as a person reads them, and photographs of the skin."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from pipelines.errors import IntensityError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers.burned_in import SAYS_TEXT, says_text
from pipelines.readers.codestream import check_streams
from pipelines.readers.decoder_words import damage_raised
from pipelines.readers.dicom_file import open_dataset
from pipelines.readers.dicom_header import values_of
from pipelines.readers.picture_file import MAX_PIXELS

XRAY_MODALITIES = ("CR", "DX", "DR", "RG")
PHOTO_MODALITIES = ("XC", "DMS", "GM")
# View Position (0018,5101) and the views of PS3.3 C.8.11.5 that are no frontal ones.
_LATERAL = ("LL", "RL", "LATERAL", "LAT", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "XTABLELAT")
_LYING = ("LLD", "RLD")
_CHEST = ("CHEST", "THORAX", "LUNG", "CHESTABDOMEN", "PORTCHEST", "TORAX", "BRUST")
_ORIGINAL = "give the original picture"


def read_xray_dicom(path: Path, smallest: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """A chest X-ray with its rescale, its VOI LUT or first window, and air dark whatever its photometric kind.

    Args:
        smallest: pixels that each side must have.

    Returns:
        float32 (W, H), grey 0..255, and notes.

    Raises:
        UnreadableFileError: damaged, truncated, compressed in a way that nothing here decodes, or absurdly large.
        UnsupportedImageError: another modality or part of the body, a lateral view, several frames, colour, pixels that
            are not square, or values of the detector that nobody reads ("FOR PROCESSING").
        IntensityError: a window or LUT that makes no grey.
    """
    dataset = _open(path, XRAY_MODALITIES, "a chest X-ray (CR, DX)")
    with _decoding(path):
        _check_view(dataset, path)
        _check_frame(dataset, path, smallest)
    kind = str(dataset.get("PhotometricInterpretation") or "none")
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedImageError(f"pixels of the kind {kind[:16]}, and grey is due", where=path, how=_ORIGINAL)
    notes: list[str] = [SAYS_TEXT] if says_text(dataset) else []
    with _decoding(path):
        stored = _pixels(dataset, path)
        padding = _padding(dataset, stored)
        values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
        grey = _shown(dataset, values, padding, notes)
    if not np.isfinite(grey).all():
        raise IntensityError("its window or LUT makes no grey of its values", where=path, how=_ORIGINAL)
    if kind == "MONOCHROME1":
        grey = 1 - grey
        notes.append("MONOCHROME1 was turned round, so that air is dark")
    if padding is not None:
        grey[padding] = 0
        notes.append("padding was made black")
    return np.ascontiguousarray(grey.T * 255, dtype=np.float32), tuple(notes)


def read_photograph_dicom(path: Path, smallest: int) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A photograph (VL Photographic, Dermoscopic Photography) as 8-bit RGB.

    Returns:
        uint8 (3, W, H), and notes.

    Raises:
        UnreadableFileError: as `read_xray_dicom`.
        UnsupportedImageError: another modality, several frames, more than 8 bits, or an odd kind of pixels.
    """
    dataset = _open(path, PHOTO_MODALITIES, "a photograph (XC, DMS, GM)")
    with _decoding(path):
        _check_frame(dataset, path, smallest)
    kind = str(dataset.get("PhotometricInterpretation") or "none")
    bits = int(dataset.get("BitsAllocated") or 0)
    colours = kind in ("RGB", "PALETTE COLOR", "MONOCHROME2") or kind.startswith("YBR_")
    if not colours or (bits != 8 and kind != "PALETTE COLOR"):
        raise UnsupportedImageError(
            f"pixels of the kind {kind[:16]} with {bits} bits, and 8-bit colour is due", where=path, how=_ORIGINAL
        )
    notes: list[str] = [SAYS_TEXT] if says_text(dataset) else []
    with _decoding(path):
        array = _pixels(dataset, path)
        if kind == "PALETTE COLOR":
            array = apply_color_lut(array, dataset)[..., :3]
            array = (array >> 8 if array.dtype.itemsize > 1 else array).astype(np.uint8)
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
        notes.append("a grey picture was given three equal channels")
    if array.dtype != np.uint8 or array.shape[2] != 3:
        raise UnsupportedImageError(f"pixels of {array.shape} {array.dtype}", where=path, how=_ORIGINAL)
    return np.ascontiguousarray(array.transpose(2, 1, 0)), tuple(notes)


class _decoding:
    """pydicom and its decoders raise nearly anything on damaged files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.quiet = warnings.catch_warnings()

    def __enter__(self) -> None:
        self.quiet.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.quiet.__exit__(kind, error, trace)  # type: ignore[arg-type]
        if error is None or isinstance(error, (PipelinesError, MemoryError)) or not isinstance(error, Exception):
            return
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFileError(
            f"the file is truncated or damaged ({reason})", where=self.path, how="copy or export it again"
        ) from None


def _open(path: Path, modalities: tuple[str, ...], due: str) -> pydicom.FileDataset:
    dataset = open_dataset(path)
    modality = str(dataset.get("Modality") or "none").strip().upper()
    if "Rows" not in dataset or "PixelData" not in dataset:
        raise UnreadableFileError("the file holds no pixels", where=path, how="copy or export it again")
    if modality not in modalities:
        raise UnsupportedImageError(f"the modality is {modality[:16]}, and {due} is due", where=path, how=_ORIGINAL)
    return dataset


def _check_view(dataset: pydicom.Dataset, path: Path) -> None:
    view = str(dataset.get("ViewPosition") or "").strip().upper()
    turned = [str(each).upper() for each in values_of(dataset, "PatientOrientation")]
    if view in _LATERAL or (view not in ("AP", "PA") and turned and turned[0][:1] in ("A", "P")):
        how = "give the frontal view (PA or AP)"
        raise UnsupportedImageError(f"it is a lateral or oblique view ({view or turned[0]})", where=path, how=how)
    if view in _LYING:
        raise UnsupportedImageError(f"the patient lies on a side ({view})", where=path, how="give an upright view")
    part = str(dataset.get("BodyPartExamined") or "").strip().upper().replace(" ", "")
    if part and not any(each in part for each in _CHEST):
        raise UnsupportedImageError(f"it shows another part of the body ({part[:16]})", where=path, how=_ORIGINAL)
    if str(dataset.get("PresentationIntentType") or "").strip().upper() == "FOR PROCESSING":
        raise UnsupportedImageError(
            "it holds the detector's values, FOR PROCESSING, which nobody reads",
            where=path,
            how="give the picture FOR PRESENTATION",
        )


def _check_frame(dataset: pydicom.Dataset, path: Path, smallest: int) -> None:
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise UnsupportedImageError("several frames in one file", where=path, how="save each as a picture of its own")
    if rows * columns > MAX_PIXELS:
        raise UnreadableFileError("the picture has more than 100 megapixels", where=path, how=_ORIGINAL)
    if min(rows, columns) < smallest:
        raise UnsupportedImageError(
            f"the picture of {columns} x {rows} pixels is too small (at least {smallest} a side)",
            where=path,
            how="give it at its full size",
        )
    for keyword in ("ImagerPixelSpacing", "PixelSpacing", "PixelAspectRatio"):
        pair = [float(each) for each in values_of(dataset, keyword)]
        if len(pair) == 2 and min(pair) > 0 and abs(pair[0] / pair[1] - 1) > 0.02:
            raise UnsupportedImageError(
                f"its pixels are not square ({keyword} {pair[0]:g} and {pair[1]:g})", where=path, how=_ORIGINAL
            )


def _pixels(dataset: pydicom.FileDataset, path: Path) -> NDArray:
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        samples = int(dataset.get("SamplesPerPixel") or 1)
        packed = 2 if str(dataset.get("PhotometricInterpretation")) == "YBR_FULL_422" else samples
        if len(dataset.PixelData) < int(dataset.Rows) * int(dataset.Columns) * packed * int(dataset.BitsAllocated) // 8:
            raise UnreadableFileError("the pixels are truncated", where=path, how="copy or export it again")
    check_streams(dataset, path)
    with damage_raised(dataset.file_meta.TransferSyntaxUID):
        return np.asarray(pixel_array(dataset))


def _padding(dataset: pydicom.Dataset, stored: NDArray) -> NDArray[np.bool_] | None:
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    other = limit if isinstance(limit, int) else value
    mask = (stored >= min(value, other)) & (stored <= max(value, other))
    return mask if mask.any() and not mask.all() else None


def _shown(
    dataset: pydicom.Dataset, values: NDArray[np.float64], padding: NDArray[np.bool_] | None, notes: list[str]
) -> NDArray[np.float64]:
    """Grey 0..1 as the file says that it is to be shown: by its VOI LUT, its first window, or from end to end."""
    if dataset.get("VOILUTSequence"):
        lut = dataset.VOILUTSequence[0]
        entries, first, bits = (int(each) for each in lut.LUTDescriptor)
        entries = entries or 2**16
        table = np.frombuffer(lut.LUTData, "<u2") if isinstance(lut.LUTData, bytes) else np.asarray(lut.LUTData)
        index = np.clip(np.rint(values) - first, 0, min(entries, len(table)) - 1).astype(np.int64)
        return table[index] / float(max(2**bits - 1, int(table.max()), 1))
    centres, widths = values_of(dataset, "WindowCenter"), values_of(dataset, "WindowWidth")
    if centres and widths and float(widths[0]) > 0:
        return _windowed(values, float(centres[0]), float(widths[0]), str(dataset.get("VOILUTFunction") or "LINEAR"))
    seen = values if padding is None else values[~padding]
    low, high = float(seen.min()), float(seen.max())
    notes.append("the file states no window: grey from its least to its largest value")
    return np.clip((values - low) / max(high - low, 1e-9), 0, 1)


def _windowed(values: NDArray[np.float64], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, to 0..1."""
    if function.strip().upper() == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -60, 60)))
    if function.strip().upper() == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5, 0, 1)
