"""The image files of a folder: those that are read, and what is wrong with those that look like some and are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import DatalistError, PipelinesError, UnreadableFileError, UnsupportedImageError
from pipelines.preparation.raw_case import stem
from pipelines.readers import kinds
from pipelines.readers.kinds import kind_of, unknown_kind

PICTURE, VOLUME = "picture", "volume"
# Of a header the voxels, which are no image of their own.
_HEADERS = (".hdr", ".mhd", ".nhdr")
_VOXELS = (".img", ".img.gz", ".raw", ".zraw", ".raw.gz")


@dataclass(frozen=True)
class ImageFiles:
    """What a folder holds: `files` with their kind (picture or volume), sorted by name; `passed` names of files that
    are no images."""

    files: dict[Path, str] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)

    def kinds(self) -> set[str]:
        return set(self.files.values())


def image_files(folder: Path, faults: list[PipelinesError], *, flat: bool = True) -> ImageFiles:
    """Look through a folder; hidden files (also macOS's ``._name``) are passed over in silence.

    Args:
        faults: what is wrong is added here: images and archives of kinds that are not read, and DICOM.
        flat: a folder in it is a fault too.
    """
    found = ImageFiles()
    inside = sorted(folder.iterdir(), key=lambda path: path.name.encode(errors="surrogateescape"))
    inside = [path for path in inside if not path.name.startswith((".", "__MACOSX"))]
    headers = {stem(path).casefold() for path in inside if path.name.lower().endswith(_HEADERS)}
    for path in inside:
        if path.is_dir():
            if flat:
                what = "a folder lies here, and only files are read"
                faults.append(DatalistError(what, where=path, how="move its images up, or it away"))
            continue
        voxels = next((each for each in _VOXELS if path.name.lower().endswith(each)), "")
        if voxels and path.name[: -len(voxels)].casefold() in headers:
            continue
        kind = kind_of(path)
        if kind == kinds.PICTURE:
            found.files[path] = PICTURE
        elif kind in (kinds.NIFTI, kinds.ITK):
            found.files[path] = VOLUME
        elif kind == kinds.DICOM:
            what = "is DICOM, which these layouts do not hold"
            faults.append(UnsupportedImageError(what, where=path, how="convert the series to NIfTI (dcm2niix)"))
        elif kind == kinds.ARCHIVE:
            faults.append(UnreadableFileError("is an archive", where=path, how="unpack it, and give what is in it"))
        elif kind is not None:
            faults.append(unknown_kind(path))
        else:
            found.passed.append(path.name)
    return found


def folders_of(home: Path) -> list[Path]:
    """The visible folders in a folder, sorted; not macOS's ``__MACOSX``."""
    return sorted(each for each in home.iterdir() if each.is_dir() and not each.name.startswith((".", "__MACOSX")))
