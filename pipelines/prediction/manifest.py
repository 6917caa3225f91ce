"""The manifest of a prediction: a line a case, written as it goes, from which an interrupted prediction goes on."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from pipelines.errors import OutputError
from pipelines.files import FolderLock, file_digest
from pipelines.handlers import WeightsLoader, sweep_writing
from pipelines.predicted import INPUTS, MANIFEST, Outcome, hidden_inputs
from pipelines.readers.finder import SEPARATOR
from pipelines.readers.shown_path import shown_fault, shown_path

INTERRUPTED = "interrupted"
_LOCK = ".predict.lock"


class Manifest:
    """The manifest of a folder, begun anew; each line is on the disk before the next case is begun.

    Args:
        folder: made if missing.
        kept: lines of an earlier call that still hold. They come first, and in one step, so that nothing is lost
            where this call is cut off too.
        hide: a part of an input's path that tells whom it is of (`shown_path`) gets a pseudonym, in the line and in its
            fault. What that stands for is kept in `INPUTS`, which its owner alone may read.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, kept: Iterable[Outcome] = (), *, hide: bool = True) -> None:
        self.folder = folder
        self._hide = hide
        self._known = {path: hidden for hidden, path in hidden_inputs(folder).items()}
        self._private: IO[str] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder, _LOCK)
            sweep_writing(folder)
            if (folder / MANIFEST).is_dir():
                raise IsADirectoryError(0, "a folder of the manifest's name is in the way")
            kept = list(kept)
            self._begin_private(kept)
            partial = folder / f".{MANIFEST}.partial"
            self._file = partial.open("w", encoding="utf-8", errors="backslashreplace")
            for outcome in kept:
                self.add(outcome)
            partial.replace(folder / MANIFEST)
        except OSError as error:
            what = f"the folder cannot be written ({error.strerror})"
            raise OutputError(what, where=folder, how="choose another --out") from error

    def add(self, outcome: Outcome) -> Outcome:
        """Write a line, and return it as it may be told (`shown`).

        Raises:
            OutputError: it cannot be written.
        """
        shown = self.shown(outcome)
        try:
            self._keep(shown, outcome)
            self._file.write(json.dumps(asdict(shown), ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            what = f"the manifest cannot be written ({error.strerror})"
            raise OutputError(what, where=self.folder, how="free space; the same call with --resume goes on") from error
        return shown

    def shown(self, outcome: Outcome) -> Outcome:
        """An outcome without what its input's path tells of a patient, where that is to be hidden."""
        if not self._hide:
            return outcome
        path = outcome.input
        if path not in self._known:
            self._known[path] = shown_path(Path(path))
        error = (
            None if outcome.error is None else shown_fault(Path(path), outcome.error).replace(path, self._known[path])
        )
        return replace(outcome, input=self._known[path], error=error)

    def _begin_private(self, kept: Iterable[Outcome]) -> None:
        """Begin the file of hidden inputs anew, with those of the lines that stay."""
        self._said: set[str] = set()
        (self.folder / INPUTS).unlink(missing_ok=True)
        for each in kept:
            self._keep(self.shown(each), each)

    def _keep(self, shown: Outcome, outcome: Outcome) -> None:
        """Note what a line hides."""
        if shown == outcome or shown.input in self._said:
            return
        if self._private is None:
            number = os.open(self.folder / INPUTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._private = os.fdopen(number, "a", encoding="utf-8", errors="backslashreplace")
        line = {"input": shown.input, "path": outcome.input, "error": outcome.error}
        self._private.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._private.flush()
        self._said.add(shown.input)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be flushed has been said
            self._file.close()
            if self._private is not None:
                self._private.close()
        sweep_writing(self.folder)  # a process of this call may have been killed while it wrote
        self._lock.close()


def input_digest(path: Path, known: dict[Path, str], leave_out: Path) -> str | None:
    """SHA-256 of what an input's answer depends on: its file, the files that belong to it by their name (a header and
    its voxels), all files of its folder, or its archive; None where they cannot be read.

    Args:
        path: of a case, which may lead into a folder or archive.
        known: what was found of paths before; added to.
        leave_out: a folder whose files do not count, where they lie in the input (and not the input in it).
    """
    text = str(path)
    if SEPARATOR in text and not os.path.lexists(path):
        path = Path(text[: text.rfind(SEPARATOR)])
        while SEPARATOR in str(path) and not os.path.lexists(path):
            path = Path(str(path)[: str(path).rfind(SEPARATOR)])
    if path not in known:
        try:
            if path.is_dir():
                inner = path.resolve().is_relative_to(leave_out)
                files = sorted(e for e in path.rglob("*") if e.is_file() and (inner or not e.is_relative_to(leave_out)))
            else:
                files = [path, *(_beside(path) if path.suffix.lower() in _PARTED else [])]
            parts = [f"{each.name} {file_digest(each)}" for each in files]
        except OSError:
            return None
        known[path] = hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()
    return known[path]


def _beside(path: Path) -> list[Path]:
    """The files beside a header that share its name up to the first dot, or that it names."""
    stem = path.name.split(".")[0]
    with path.open("rb") as file:
        head = file.read(_HEAD).decode(errors="replace")
    near = (each for each in path.parent.iterdir() if each != path and each.is_file())
    return sorted(each for each in near if each.name.split(".")[0] == stem or each.name in head)


_HEAD = 2**16  # bytes of a header that are looked through for names of files
_PARTED = (".hdr", ".img", ".mhd", ".nhdr")  # whose voxels lie in a file beside them


def recipe_of(bundle: Path, handlers: Iterable[Any], asked: Mapping[str, Any]) -> str:
    """A name for how answers are made: the bundle's configs, the weights and what lies beside them, the options, and
    the version of this package. Where and by what they were made (device, runtime) does not count.

    Args:
        bundle: its folder.
        handlers: of its inference; the weights are those of its ``WeightsLoader``.
        asked: network, overlays and overrides of the config.
    """
    digests = [file_digest(path) for path in sorted((bundle / "configs").rglob("*.yaml"))]
    for handler in handlers:
        if isinstance(handler, WeightsLoader):
            weights = Path(handler.path)
            beside = sorted(weights.parent.glob(f"{glob.escape(weights.stem)}.*json"))  # a calibration
            digests += [file_digest(each) for each in (weights, *beside)]
    options = {key: str(value) for key, value in asked.items() if key not in ("device", "checkpoint", "runtime")}
    with contextlib.suppress(PackageNotFoundError):
        digests.append(version("imaging-bundles"))
    whole = json.dumps([digests, options], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]
