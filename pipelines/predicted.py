"""What ``predict`` left in a folder: its manifest, and the files of each case, also where the folder was moved."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePath

from pipelines.errors import UnreadableFileError

MANIFEST = "manifest.jsonl"
INPUTS = ".inputs.jsonl"  # beside it, for its owner alone: what the hidden inputs of its lines stand for
CORRECTED = "corrected"  # the folder in it where corrected masks lie
MASK_ENDINGS = ("_mask.nii.gz", "_mask.png")
_ENDINGS = {"mask": MASK_ENDINGS, "report": ("_report.json",), "overlay": ("_overlay.png",)}
_SEPARATOR = "::"  # of readers: what follows lies in an archive, or is a series of a folder
_MOST_PARTS = 64  # of a path that are looked for elsewhere
_MOST_BYTES = 64 * 2**20  # of a manifest: a line of 300 bytes a case is a hundredth of it for 2,000 cases


@dataclass(frozen=True)
class Outcome:
    """One line of the manifest.

    Attributes:
        input: the path that was looked at.
        status: "done"; "refused" (the input is at fault); "skipped" (no case of its own); "failed" (we, or the
            machine); "interrupted" (it was not its turn yet, or it was at work).
        error: what is wrong, where, and how to mend it; None where it is done.
        mask, report: absolute paths, so that they hold from any directory; ``mask`` is None for a classifier.
        case: its name, after which its files are called.
        input_sha256: of the input's content.
        recipe: of the weights, options and versions that the answer was made with.
        files: what was written beside mask and report, absolute paths by kind: ``overlay``, ``slices``, ...
        kind: the error's class, such as ``SeriesError``; None where it is done, or was not begun.
    """

    input: str
    status: str
    error: str | None = None
    mask: str | None = None
    report: str | None = None
    case: str | None = None
    input_sha256: str | None = None
    recipe: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = None

    @property
    def key(self) -> str:
        """The input, however its path was typed."""
        return os.path.abspath(self.input)  # noqa: PTH100 - links stay, and so does what follows in an archive

    @property
    def there(self) -> bool:
        """Whether it is done, and its files are there."""
        files = [Path(each) for each in (self.mask, self.report, *self.files.values()) if each is not None]
        return self.status == "done" and bool(files) and all(each.is_file() for each in files)

    def holds(self, other: Outcome) -> bool:
        """Whether this is the finished answer to what ``other`` asks: equal input and recipe, its files there."""
        same = (self.case, self.input_sha256, self.recipe) == (other.case, other.input_sha256, other.recipe)
        return same and self.there


@dataclass(frozen=True)
class PredictedCase:
    """One case of a manifest.

    Attributes:
        name: what its files are called after, below the folder; of a case without files, its input's name.
        input: the image; where its path holds no longer and the same is found beside the folder, that.
        status: done, refused, skipped, failed, or another word of the manifest.
        error: what is wrong, and what to do.
        files: those that are there, by kind: mask, report, overlay, and what else a writer wrote. Each lies in the
            folder, links followed.
        corrected: the corrected mask, where there is one.
        shown: the input as the manifest has it: the path, or with pseudonyms for what tells whom it is of.
    """

    name: str
    input: Path
    status: str
    error: str | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    corrected: Path | None = None
    shown: str = ""


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """The lines of a folder's manifest by `Outcome.key`, the last of each, in order; a hidden input is the path that it
    stands for, where that is kept beside the manifest (`hidden_inputs`).

    A line that is cut off, or is none, is passed over; so is what no outcome has.

    Raises:
        UnreadableFileError: there is no manifest, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UnreadableFileError("the manifest is too large to be one", where=path, how="run predict again")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise UnreadableFileError(
            f"there is no {MANIFEST}", where=folder, how="give the folder that predict wrote"
        ) from None
    except OSError as error:
        raise UnreadableFileError(
            f"the manifest cannot be read ({error.strerror})", where=path, how="check its rights"
        ) from None
    found: dict[str, Outcome] = {}
    meant = hidden_inputs(folder)
    for outcome in filter(None, map(_parsed, lines)):
        if outcome.input in meant:
            outcome = replace(outcome, input=meant[outcome.input])
        found.pop(outcome.key, None)
        found[outcome.key] = outcome
    return found


def read_manifest(folder: Path) -> list[PredictedCase]:
    """The cases of a folder that ``predict`` wrote, each once (its last line counts), in order, with the files that are
    there, also where the folder was moved.

    Raises:
        UnreadableFileError: there is no manifest, or it cannot be read.
    """
    shown = {path: hidden for hidden, path in hidden_inputs(folder).items()}
    return [_case(folder, each, shown.get(each.input, each.input)) for each in read_outcomes(folder).values()]


def hidden_inputs(folder: Path) -> dict[str, str]:
    """The paths that hidden inputs of a folder's manifest stand for; of a file that cannot be read, none."""
    path = folder / INPUTS
    try:
        if path.stat().st_size > _MOST_BYTES:
            return {}
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # nothing is hidden, the folder was handed on without it, or it is another person's
        return {}
    found: dict[str, str] = {}
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("input", "path")):
                found[entry["input"]] = entry["path"]
    return found


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, is a file of a folder."""
    try:
        return path.resolve(strict=True).is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # it is missing, no name at all, or a loop of links
        return False


def corrected_mask(folder: Path, name: str, mask: Path | None = None) -> Path | None:
    """The corrected mask of a case, with the ending of its predicted one where that is given; None without one."""
    endings = [each for each in MASK_ENDINGS if mask is None or mask.name.endswith(each)]
    found = (folder / CORRECTED / f"{name}{ending}" for ending in endings or MASK_ENDINGS)
    return next((each for each in found if lies_in(each, folder / CORRECTED) and lies_in(each, folder)), None)


def found_again(path: str, *homes: Path) -> Path:
    """A path that may hold no longer: where it does not, the longest ending of it that lies in one of the folders."""
    container = path.partition(_SEPARATOR)[0]
    if os.path.lexists(path) or os.path.lexists(container):
        return Path(path)
    return next(_endings_in(path, *homes), Path(path))


def found_inside(path: str, folder: Path) -> Path | None:
    """A file of a folder, by a path that may be that of the folder it was copied or moved from; None where there is
    none. What lies elsewhere is never taken, also where it is still there."""
    if lies_in(Path(path), folder):
        return Path(path)
    place = next(_endings_in(path, folder), None)
    return place if place is not None and lies_in(place, folder) else None


def _endings_in(path: str, *homes: Path) -> Iterator[Path]:
    """Where the endings of a path lie in folders, the longest first."""
    container, separator, inside = path.partition(_SEPARATOR)
    parts = PurePath(container.replace("\\", "/")).parts
    for start in range(max(len(parts) - _MOST_PARTS, 0), len(parts)):
        tail = parts[start:]
        if ".." in tail or tail[0].startswith("/"):
            continue
        for home in homes:
            place = home.joinpath(*tail)
            if os.path.lexists(place):
                yield Path(f"{place}{separator}{inside}")


def _parsed(line: str) -> Outcome | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    words = {each.name: entry[each.name] for each in fields(Outcome) if isinstance(entry.get(each.name), str)}
    more = entry.get("files")
    files = {key: path for key, path in more.items() if isinstance(path, str)} if isinstance(more, dict) else {}
    return Outcome(**{**words, "files": files}) if words.get("input") and "status" in words else None


def _case(folder: Path, outcome: Outcome, shown: str) -> PredictedCase:
    own = {"mask": outcome.mask, "report": outcome.report}
    stated = {**outcome.files, **{kind: path for kind, path in own.items() if path}}
    files = {}
    for kind, path in stated.items():
        if path and (place := found_inside(path, folder)) is not None:
            files[kind] = place
    name = next(filter(None, (_name(folder, kind, files.get(kind)) for kind in _ENDINGS)), None)
    if name is not None:
        files |= _beside(folder, name, _ENDINGS.keys() - files.keys())
    return PredictedCase(
        name or Path(shown).name,
        found_again(outcome.input, folder, folder.parent),
        outcome.status,
        outcome.error,
        files,
        None if name is None else corrected_mask(folder, name, files.get("mask")),
        shown,
    )


def _name(folder: Path, kind: str, path: Path | None) -> str | None:
    """The name of a case by one of its files."""
    if path is None:
        return None
    try:
        inside = path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return None
    return next((inside.removesuffix(ending) for ending in _ENDINGS[kind] if inside.endswith(ending)), None)


def _beside(folder: Path, name: str, kinds: Iterable[str]) -> dict[str, Path]:
    """The files of a name that are there, of kinds that the manifest does not give."""
    places = {kind: [folder / f"{name}{ending}" for ending in _ENDINGS[kind]] for kind in kinds}
    found = {kind: next((each for each in paths if lies_in(each, folder)), None) for kind, paths in places.items()}
    return {kind: path for kind, path in found.items() if path is not None}
