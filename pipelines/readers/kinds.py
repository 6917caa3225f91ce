"""What a file claims to be, by its name; a file with no telling name by its first bytes."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.errors import UnreadableFileError
from pipelines.readers import archive, dicom_file, itk_volume, nifti, picture_file
from pipelines.readers.raw import file_size

# Kinds that are read, and the names of those that look like somebody's image or scan and are not, with the way out.
PICTURE, NIFTI, DICOM, ITK, ARCHIVE, OTHER = "picture", "nifti", "dicom", "itk", "archive", "other"
READ = (
    "NIfTI, DICOM, NRRD, MetaImage (.mha, .mhd), Analyze, PNG, JPEG, BMP, TIFF, WebP or HEIC, or a ZIP or TAR of them"
)

NOT_READ = {
    (".gif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".tga", ".ppm", ".pgm", ".pnm", ".psd"): "save it as PNG",
    (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"): "develop it and save it as PNG",
    (".mgz", ".mgh", ".mnc", ".rec", ".gipl", ".gipl.gz", ".vtk", ".vti", ".nii.bz2", ".nii.xz", ".nii.zst",
     ".npy", ".npz", ".raw", ".zraw", ".hdr.gz"): "convert it to NIfTI (.nii.gz)",
    (".7z", ".rar", ".tar.zst", ".iso", ".gz", ".bz2", ".xz", ".zst"): "unpack it, and give what is in it",
}  # fmt: skip
_PACKED = (".gz", ".bz2", ".xz", ".zst")
UNFINISHED = (".part", ".partial", ".crdownload", ".filepart", ".download")
_COPIES = re.compile(r"(\.(bak|old|orig|tmp|temp)|~)$", re.I)


def kind_of(path: Path) -> str | None:
    """PICTURE, NIFTI, DICOM, ITK, ARCHIVE, OTHER (looks like an image or scan and is not read), or None."""
    name = path.name.lower()
    if name.endswith(nifti.SUFFIXES):
        return NIFTI
    if name.endswith(picture_file.SUFFIXES):
        return PICTURE
    if name.endswith(dicom_file.SUFFIXES):
        return DICOM
    if name.endswith(archive.SUFFIXES):
        return ARCHIVE
    if _COPIES.search(name) and _original(path).exists():
        return None  # a copy of a file that is there is no case
    head = _head(path)
    if head[128:132] == b"DICM" or dicom_file.begins_as_data_set(head):
        return DICOM
    if name.endswith(itk_volume.SUFFIXES):
        return ITK
    if way_out(path):
        return OTHER
    return _by_content(head, path)


def way_out(path: Path) -> str:
    """What to do with a file whose name says that it is a kind of image or scan that is not read; "" for any other."""
    name = path.name.lower()
    inner = Path(_COPIES.sub("", name))
    if name.endswith(UNFINISHED):
        return "let the download end" if _telling(Path(path.stem)) else ""
    if inner.name != name:
        return f"rename it to {_original(path).name}" if _telling(inner) else ""
    if name.endswith(_PACKED) and Path(path.stem).suffix and not _telling(Path(path.stem)):
        return ""  # a table or text that was packed
    return next((how for suffixes, how in NOT_READ.items() if name.endswith(suffixes)), "")


def unknown_kind(path: Path) -> UnreadableFileError:
    """The error for a file of a kind that is not read."""
    return UnreadableFileError(
        "is not a kind of image that this project reads", where=path, how=way_out(path) or f"give {READ}"
    )


def unless_picture(path: Path) -> None:
    """Refuse, where a picture is due, what the file's name says to be of a kind that is not read.

    Raises:
        UnreadableFileError: it is not there, or is empty; else with the way out, for a volume too to save it as PNG.
    """
    file_size(path)
    if kind_of(path) == OTHER and (how := way_out(path)):
        raise UnreadableFileError(
            "is not a kind of picture that this project reads",
            where=path,
            how="save it as PNG" if "NIfTI" in how else how,
        )


def is_folder(path: Path) -> bool:
    """Whether it is a folder; False for what cannot be a path at all."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a NUL in the name, or a name too long
        return False


def _telling(path: Path) -> bool:
    read = (*nifti.SUFFIXES, *picture_file.SUFFIXES, *dicom_file.SUFFIXES, *archive.SUFFIXES, *itk_volume.SUFFIXES)
    return path.name.lower().endswith(read)


def _original(path: Path) -> Path:
    return path.with_name(_COPIES.sub("", path.name))


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(512)
    except (OSError, ValueError):
        return b""


def _by_content(head: bytes, path: Path) -> str | None:
    starts = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
    if head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return PICTURE
    if head[4:8] == b"ftyp" and head[8:12] in picture_file.HEIF_BRANDS:
        return PICTURE
    if head[344:348] in (b"n+1\0", b"n+2\0") or head[4:8] == b"n+2\0":
        return NIFTI
    if head.startswith((b"NRRD000", b"ObjectType", b"NDims")):
        return ITK
    # Office documents are ZIP files too, so that only a name without any suffix leaves the content to speak.
    return OTHER if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!")) and not path.suffix else None
