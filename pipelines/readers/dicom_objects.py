"""What the DICOM files of a folder are: slices, pictures, and what lies beside them without being either."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.uid import UID

from pipelines.errors import PipelinesError, UnreadableFileError
from pipelines.readers.dicom_file import SUFFIXES, looks_like_dicom, open_dataset
from pipelines.readers.dicom_header import TAGS, is_localizer, value_of

SLICE, PICTURE, SCOUT, DOCUMENT, DERIVED, BROKEN = "slice", "picture", "scout", "document", "derived", "broken"
BESIDE = (SCOUT, DOCUMENT, DERIVED)  # passed over where there are slices

# Objects with pixels that are made from slices, or show a screen.
_DERIVED = ("Segmentation", "Parametric Map", "RT Dose", "RT Image", "Secondary Capture", "Hardcopy")
_DOCUMENT_MODALITIES = ("SR", "PR", "KO", "DOC", "REG", "RTSTRUCT", "RTPLAN", "RTRECORD", "PLAN", "FID", "RWV", "AU")
_CAPTURE_MODALITIES = ("OT", "SC", "SEG", "RTDOSE", "RTIMAGE")
# Each file of these is a picture of its own, not a slice of a stack.
_PICTURE_MODALITIES = ("CR", "DX", "DR", "RG", "MG", "IO", "PX", "XC", "DMS", "GM", "ES", "OP", "SM", "US", "RF", "XA")
_MORE = ("ViewPosition",)
# Endings that a copy, a download or a packer puts behind a name.
_BEHIND = re.compile(r"(\.(gz|bz2|xz|zst|z|part|partial|crdownload|filepart|download|tmp|temp|bak|old|orig)|~)$", re.I)
# Endings of what lies beside slices, has a number as they have, and is none.
_BESIDE = re.compile(
    r"\.(txt|csv|tsv|xml|json|ya?ml|log|md|md5|sha\d*|ini|inf|cfg|html?|css|js|pdf|docx?|xlsx?|rtf|exe|dll|jar|bat|sh|db|lnk|"
    r"url|png|jpe?g|jfif|bmp|tiff?|gif|webp|heic|svg|ico|mp4|avi|mov|nii(\.gz)?|nrrd|mha|stl|obj|py|m|r)$",
    re.I,
)
_SLICE_SIZE_SHARE = 0.02


@dataclass(frozen=True)
class DicomObject:
    """One file.

    Attributes:
        kind: SLICE, PICTURE (a projection or photograph), SCOUT, DOCUMENT (no pixels), DERIVED, or BROKEN.
        series: SeriesInstanceUID, "" where there is none.
        number: SeriesNumber; None where there is none.
        dataset: its header without pixels; None for a broken one, whose fault is in `error`.
    """

    path: Path
    kind: str
    series: str = ""
    number: int | None = None
    dataset: pydicom.FileDataset | None = None
    error: PipelinesError | None = None


@dataclass(frozen=True)
class FolderFiles:
    """Files directly in a folder: those that are DICOM or claim to be, by name, and the names of the others."""

    files: list[Path]
    others: list[str]


def list_series_files(folder: Path) -> FolderFiles:
    """DICOM files directly in a folder, sorted by name, and the names of those that were passed over.

    Passed over without a word: hidden files, DICOMDIR and subfolders. Named: files that are no DICOM and do not claim
    to be. Links to files are followed. Listed whatever they hold, so that reading refuses them and no slice is lost in
    silence: files with a DICOM suffix, and files that are named, or as large, as the slices beside them are.

    Raises:
        UnreadableFileError: the folder cannot be listed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UnreadableFileError(
            f"the folder cannot be listed ({error})", where=folder, how="check the path and its rights"
        ) from None
    files: list[Path] = []
    others: list[Path] = []
    for entry in entries:
        if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR" or entry.is_dir():
            continue
        claims = entry.suffix.lower() in SUFFIXES
        (files if claims or looks_like_dicom(entry) else others).append(entry)
    patterns = {pattern for file in files for pattern in _patterns(file.name)}
    sizes = _slice_sizes(files)
    spoilt = [
        entry
        for entry in others
        if not _BESIDE.search(entry.name) and (_patterns(entry.name) & patterns or _is_as_large(entry, sizes))
    ]
    return FolderFiles(sorted([*files, *spoilt]), [entry.name for entry in others if entry not in spoilt])


def _patterns(name: str) -> set[str]:
    """A name without what counts from slice to slice, in each way that it may: digits, or a letter or two as in
    slice_a, a_slice, IM1b and sliceA."""
    counted = _pattern(name)
    if counted == "#":
        return {counted}
    if "#" in counted:
        return {counted, re.sub(r"#[a-z]$", "#@", counted)}
    stem = (Path(_BEHIND.sub("", name)).stem or name).lower()
    tokens = [match.span() for match in re.finditer(r"(?<![a-z])[a-z]{1,2}(?![a-z])", stem)]
    last = re.search(r"(?<=[a-z]{2})[a-z]$", stem)
    spans = tokens if last is None else [*tokens, last.span()]
    return {counted, *(f"{stem[:start]}@{stem[end:]}" for start, end in spans)}


def _pattern(name: str) -> str:
    """A name without digits that count from slice to slice, its ending, and what a copy or packer put behind it."""
    name = _BEHIND.sub("", name)
    stem, dot, ending = name.rpartition(".")
    if dot and stem and not ending.isdigit():  # a UID has dots and no ending
        name = stem
    if re.fullmatch(r"[0-9A-Fa-f]{6,}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", name):
        return "#"
    name = re.sub(r"#(\.#)+", "#", re.sub(r"\d+", "#", name))
    return name.lower() if "#" in name else f"{name}{dot}{ending}"


def _slice_sizes(files: list[Path]) -> tuple[float, float] | None:
    """The sizes that slices beside each other have, where they are all about equal, as uncompressed ones are."""
    try:
        sizes = sorted(file.stat().st_size for file in files)
    except OSError:
        return None
    if len(sizes) < 3 or sizes[0] < 4096:
        return None
    middle = sizes[len(sizes) // 2]
    low, high = middle * (1 - _SLICE_SIZE_SHARE), middle * (1 + _SLICE_SIZE_SHARE)
    return (low, high) if sizes[len(sizes) // 4] >= low and sizes[3 * len(sizes) // 4] <= high else None


def _is_as_large(entry: Path, sizes: tuple[float, float] | None) -> bool:
    try:
        return sizes is not None and sizes[0] <= entry.stat().st_size <= sizes[1]
    except OSError:
        return False


def describe(path: Path) -> DicomObject:
    """What a file is, by its header; a file that cannot be read is BROKEN, and says why."""
    try:
        if path.is_symlink() and not path.exists():
            raise UnreadableFileError(
                "is a link to a file that is not there",
                where=path,
                how="fetch what it leads to (git-annex: git annex get), or copy the files themselves",
            )
        dataset = open_dataset(path, [*TAGS, *_MORE])
    except PipelinesError as error:
        return DicomObject(path, BROKEN, error=error)
    number = value_of(dataset, "SeriesNumber")
    series = str(value_of(dataset, "SeriesInstanceUID") or "")
    return DicomObject(path, kind_of_object(dataset), series, int(number) if isinstance(number, int) else None, dataset)


def kind_of_object(dataset: pydicom.FileDataset) -> str:
    """The kind of a `DicomObject` by its header."""
    modality = str(value_of(dataset, "Modality") or "").strip().upper()
    sop_class = str(value_of(dataset, "SOPClassUID") or value_of(dataset.file_meta, "MediaStorageSOPClassUID") or "")
    name = UID(sop_class).name
    derived = any(words in name for words in _DERIVED) or modality in _CAPTURE_MODALITIES
    if "Rows" not in dataset:
        # A slice that was cut off has no Rows either, so that only what says to be a document counts as one.
        known = name != sop_class and "Image Storage" not in name and not derived
        return DOCUMENT if known or modality in _DOCUMENT_MODALITIES else SLICE
    if modality == "CT" and is_localizer(dataset):
        return SCOUT
    if derived and not (modality == "CT" and _lies_somewhere(dataset)):
        return DERIVED
    return PICTURE if modality in _PICTURE_MODALITIES else SLICE


def _lies_somewhere(dataset: pydicom.Dataset) -> bool:
    """Whether it is a grey picture with a place in the patient: some exporters write slices as secondary captures."""
    grey = str(value_of(dataset, "PhotometricInterpretation") or "") == "MONOCHROME2"
    places = ("ImagePositionPatient", "PerFrameFunctionalGroupsSequence")
    return grey and any(bool(value_of(dataset, keyword)) for keyword in places)
