"""The cases that a path holds: whatever looks like somebody's scan or picture is found, read or not, and none twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.errors import PipelinesError, SeriesError, UnreadableFileError, UnsupportedImageError
from pipelines.readers import archive, kinds
from pipelines.readers.dicom_header import judge
from pipelines.readers.dicom_objects import BROKEN, DOCUMENT, PICTURE, DicomObject, describe, list_series_files
from pipelines.readers.dicom_series import series_token, sort_out
from pipelines.readers.identifiers import Telling, telling
from pipelines.readers.kinds import is_folder, kind_of, unknown_kind
from pipelines.readers.raw import file_size
from pipelines.readers.series_parts import SeriesPart, goes_on

SEPARATOR = "::"  # between a container (an archive, a folder of several series) and what in it is meant
_BESIDE_HEADERS = (".raw", ".zraw", ".raw.gz", ".img", ".img.gz")  # voxels whose header is a file of its own
_HEADERS = (".mhd", ".nhdr", ".hdr")
_NEIGHBOURS = 4  # series above each other, of which one may go on in the other


@dataclass(frozen=True)
class Found:
    """One case, or what looks like one.

    Attributes:
        path: what `read_case` takes: a file, a series' folder, or ``FOLDER::SERIES``, ``ARCHIVE::INSIDE``.
        file: the file or folder that holds it.
        inside: where in an archive, "" elsewhere; `file_inside`: it is a file there, not a folder.
        series: `series_token`, where a folder holds DICOM; `number` its SeriesNumber, `slices` its files.
        several: the folder holds other series too.
        fault: why it is not read, where that is known before reading.
        telling: what its header says that may stand in its path.
        status: "refused" (the input is at fault) or "skipped" (nothing is wrong with it), where there is a fault.
    """

    path: Path
    file: Path
    inside: str = ""
    file_inside: bool = False
    series: str | None = None
    number: int | None = None
    slices: int = 0
    several: bool = False
    fault: PipelinesError | None = None
    status: str = "refused"
    telling: Telling = field(default_factory=Telling)


_Parts = list[tuple[Found, SeriesPart]]


def look_through(path: str | os.PathLike[str]) -> list[Found]:
    """All cases of a path: the file itself, or everything below a folder or in an archive that looks like an image or
    scan, sorted.

    A folder with slices directly in it is one case, or one for each series. Links are followed; a folder that is
    reached twice has its cases once. Hidden files and folders are passed over. Headers are read, and no pixels.

    Raises:
        UnreadableFileError: there is nothing, or it is not readable.
    """
    path = Path(path)
    if not is_folder(path):
        file_size(path)
        kind = kind_of(path)
        if kind is None:
            raise unknown_kind(path)
        if kind == kinds.ARCHIVE:
            return _in_archive(path)[0]
        return [Found(path, path)]
    return _walked(path)[0]


def find_cases(path: str | os.PathLike[str]) -> list[Path]:
    """What `look_through` finds and `read_case` may read.

    Raises:
        UnreadableFileError: there is nothing, or it is not readable.
    """
    return [each.path for each in look_through(path) if each.fault is None]


def _walked(folder: Path, packed: bool = False) -> tuple[list[Found], _Parts]:
    """The cases of a folder, sorted, and the slices of its series; `packed`: it is what an archive held."""
    walk = _Walk(folder, packed)
    if not walk.cases:
        raise UnreadableFileError(
            f"the {'archive' if packed else 'folder'} holds no images that this project reads",
            where=folder,
            how=f"give {kinds.READ}",
        )
    return sorted(walk.cases, key=_place), walk.parts


def _in_archive(path: Path) -> tuple[list[Found], _Parts]:
    """As `_walked`, of an archive; it is the case itself where it holds one, or cannot be unpacked."""
    try:
        folder = archive.unpack(path)
        inner, parts = _walked(folder, packed=True)
    except PipelinesError as error:
        where = path if error.where is None or "unpacked-" in error.where else error.where
        return [Found(path, path, fault=type(error)(error.what, where=where, how=error.how))], []
    cases, there = [], {}
    for each in inner:
        rest = str(each.path)[len(str(folder)) :]  # "/INSIDE", or "::SERIES" of those directly in it
        inside = rest[1:] if rest.startswith(os.sep) else f".{rest}"
        address = Path(f"{path}{SEPARATOR}{inside}")
        fault = each.fault
        if fault is not None:
            fault = type(fault)(fault.what, where=address, how=fault.how)
        in_file = each.file.relative_to(folder).as_posix()
        is_file = each.file.is_file()
        cases.append(replace(each, path=address, file=path, inside=in_file, file_inside=is_file, fault=fault))
        there[each.path] = cases[-1]
    if len(cases) == 1 and cases[0].fault is None:
        cases = [replace(cases[0], path=path, inside="")]
        there = dict.fromkeys(there, cases[0])
    return cases, [(there[case.path], part) for case, part in parts]


class _Walk:
    """One look through a folder: real folders first, then those that links lead to, each once."""

    def __init__(self, root: Path, packed: bool) -> None:
        self.cases: list[Found] = []
        self._packed = packed
        self.parts: _Parts = []
        self._links: list[Path] = []
        self._seen: set[tuple[int, int]] = set()
        self._root = root
        self._below(root)
        while self._links:
            self._linked(self._links.pop(0))
        self._name_parted_series()

    def _below(self, top: Path) -> None:
        waiting = [top]  # no recursion: folders may lie deeper than Python calls
        while waiting:
            waiting += self._folder(waiting.pop())

    def _folder(self, folder: Path) -> list[Path]:
        """Take the cases directly in a folder; the folders in it."""
        try:
            self._seen.add(_identity(folder))
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            fault = UnreadableFileError(
                f"the folder cannot be listed ({error.strerror})", where=folder, how="check the path and its rights"
            )
            if folder == self._root:
                raise fault from None
            self.cases.append(Found(folder, folder, fault=fault))
            return []
        files: list[Path] = []
        folders: list[Path] = []
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if is_folder(path):
                (self._links if entry.is_symlink() else folders).append(path)
            elif entry.name.upper() != "DICOMDIR":
                files.append(path)
        self._files(folder, files)
        return folders

    def _linked(self, link: Path) -> None:
        real = link.resolve()
        if self._root.resolve().is_relative_to(real):
            what = "is a link to a folder that holds this one"
        elif _identity(link) in self._seen:
            what = "is a link to a folder whose cases have lines of their own"
        else:
            self._below(link)
            return
        fault = UnsupportedImageError(what, where=link, how="give the folder itself if it is another case")
        self.cases.append(Found(link, link, fault=fault, status="skipped"))

    def _files(self, folder: Path, files: Sequence[Path]) -> None:
        of_kind = {path: kind_of(path) for path in files}
        series: set[Path] = set()
        if kinds.DICOM in of_kind.values():
            series = set(list_series_files(folder).files)
            self.cases += self._dicom(folder, [describe(path) for path in sorted(series)])
        names = {path.name.lower() for path in files}
        for path, kind in of_kind.items():
            if path in series:
                continue
            if path.is_symlink() and not path.exists():
                fault = UnreadableFileError(
                    "is a link to something that is not there",
                    where=path,
                    how="fetch what it leads to (git-annex: git annex get), or remove it",
                )
                self.cases.append(Found(path, path, fault=fault))
            elif kind == kinds.ARCHIVE and self._packed:
                # Never unpacked: archives could be nested without end, and would push out the one that is walked.
                nested = UnsupportedImageError("is an archive in an archive", where=path, how="unpack the outer one")
                self.cases.append(Found(path, path, fault=nested))
            elif kind == kinds.ARCHIVE:
                cases, parts = _in_archive(path)
                self.cases += cases
                self.parts += parts
            elif kind is not None and not _has_header(path, names):
                self.cases.append(Found(path, path))

    def _dicom(self, folder: Path, objects: list[DicomObject]) -> Iterator[Found]:
        """The cases of the DICOM files directly in a folder."""
        kept, _ = sort_out(objects)
        pictures = [each for each in kept if each.kind == PICTURE]
        slices = [each for each in kept if each.kind not in (PICTURE, BROKEN)]
        broken = [each for each in kept if each.kind == BROKEN]
        yield from (_single(each) for each in pictures)
        if slices and all(each.kind == DOCUMENT for each in slices):
            return  # reports, or what a CD says of itself: nobody's images
        if not slices and pictures:
            yield from (_single(each) for each in broken)
            return
        by_series: dict[str, list[DicomObject]] = {}
        for each in slices:
            by_series.setdefault(each.series, []).append(each)
        nameless = by_series.get("", [])
        if nameless and len(by_series) > 1:  # cut off in its header: without it the rest would pass for the whole scan
            fault = UnreadableFileError(
                f"{nameless[0].path.name} no longer says which series it is of: it is damaged, and a slice is lost",
                where=nameless[0].path,
                how="fetch it again, or remove it if it belongs to no scan",
            )
            yield Found(folder, folder, fault=fault)
            return
        if len(by_series) < 2:
            number = slices[0].number if slices else None
            token = series_token(next(iter(by_series))) if by_series else None
            tells = telling(slices[0].path) if slices else Telling()
            case = Found(folder, folder, series=token, number=number, slices=len(slices), telling=tells)
            self._keep_part(case, slices)
            yield case
            return
        cases = []
        for uid, members in by_series.items():
            token = series_token(uid)
            cases.append(
                Found(
                    Path(f"{folder}{SEPARATOR}{token}"), folder,
                    series=token, number=members[0].number, slices=len(members), several=True,
                    telling=telling(members[0].path),
                )
            )  # fmt: skip
            self._keep_part(cases[-1], members)
        yield from cases

    def _keep_part(self, case: Found, slices: Sequence[DicomObject]) -> None:
        try:
            headers = [header for each in slices if each.dataset for header in judge(each.dataset, each.path)]
        except PipelinesError:
            return  # reading says what is wrong
        if headers:
            self.parts.append((case, SeriesPart.of(headers)))

    def _name_parted_series(self) -> None:
        """One scan whose slices lie in several places, or have several series UIDs, is no case in any of them."""
        parted: dict[Path, Path] = {}
        groups: dict[tuple[str, str], list[tuple[Found, SeriesPart]]] = {}
        for case, part in self.parts:
            groups.setdefault(("folder", f"{case.file}{SEPARATOR}{case.inside}"), []).append((case, part))
            groups.setdefault(("series", case.series or ""), []).append((case, part))
        for members in groups.values():
            members.sort(key=lambda each: float(each[1].heights[0]))
            for number, (one, part) in enumerate(members):
                for other, rest in members[number + 1 : number + 1 + _NEIGHBOURS]:
                    if goes_on(part, rest):
                        parted.setdefault(one.path, other.path)
                        parted.setdefault(other.path, one.path)
        for number, case in enumerate(self.cases):
            if case.path in parted:
                fault = SeriesError(
                    f"the scan goes on in {self._called(parted[case.path])}: its slices lie in several folders or "
                    "archives, or have several series UIDs",
                    where=case.path,
                    how="put all slices of the scan in one folder, with one SeriesInstanceUID, or give this part alone",
                )
                self.cases[number] = replace(case, fault=fault)

    def _called(self, path: Path) -> str:
        """A case's path below the folder that is walked, or the series of those directly in it."""
        text, root = str(path), str(self._root)
        for separator in (os.sep, SEPARATOR):
            if text.startswith(root + separator):
                return text[len(root + separator) :]
        return text if root == "." else path.name


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _place(each: Found) -> tuple[Path, float, Path]:
    return each.file, float("inf") if each.number is None or not each.several else each.number, each.path


def _single(each: DicomObject) -> Found:
    token = series_token(each.series) if each.series else None
    return Found(each.path, each.path, series=token, number=each.number, slices=1, telling=telling(each.path))


def _has_header(path: Path, names: set[str]) -> bool:
    """Whether a file holds the voxels of a header that lies beside it."""
    name = path.name.lower()
    ending = next((each for each in _BESIDE_HEADERS if name.endswith(each)), None)
    if ending is None:
        return False
    return any(name[: -len(ending)] + header in names for header in _HEADERS)
