"""What could not be written to a run's store, kept beside its checkpoints until it can.

A journal is a folder ``CKPT_DIR/unsent/KEY``: ``journal.jsonl``, whose first line says which run of which store it is
(or how to begin it, if the store never answered) and each further line one ``Entry``; and copies of the files that
belong to the run. The process that writes it holds a lock on it, so that nobody else sends what is still being written.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import TextIO

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipelines.errors import TrackingError
from pipelines.tracking.entries import CUT, INCOMPLETE, Entry, is_complete
from pipelines.tracking.run_file import RunRecord, read_run_file, write_run_file
from pipelines.tracking.store import experiment_id, open_store, redact, sqlite_path

logger = logging.getLogger(__name__)

UNSENT = "unsent"
JOURNAL = "journal.jsonl"
_KEY = "watched_journal"  # tag of a run that was begun from a journal: it is found again if that was cut short
# What a store says of an entry that it will never take; anything else is a fault of the store, and passes.
_REFUSED = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS"}
_open_files: set[FileIO] = set()  # journals that this process writes


def _close_in_child() -> None:
    """A forked DataLoader worker that holds a journal holds its lock too, and may outlive the training by seconds."""
    for file in _open_files:
        file.close()
    _open_files.clear()


os.register_at_fork(after_in_child=_close_in_child)


@dataclass(frozen=True)
class Head:
    """Which run a journal belongs to.

    Attributes:
        uri: the store, without passwords.
        run_id: None if the store never answered: then the rest says how the run is begun.
        owner: whether the writer began the run and ends it; an evaluation only adds to one.
        started: milliseconds since 1970.
        cut: the disk was full, or failed: what came after what the journal holds is lost.
    """

    uri: str
    run_id: str | None = None
    owner: bool = False
    experiment: str = ""
    description: str = ""
    run_name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    started: int = 0
    key: str = field(default_factory=lambda: f"{int(time.time() * 1000)}-{secrets.token_hex(4)}")
    cut: bool = False


class Journal:
    """What one writer could not write: in memory, and in ``folder/unsent`` if there is a folder.

    Args:
        head: of the run.
        folder: of the checkpoints; None keeps nothing beyond the process.
    """

    def __init__(self, head: Head, folder: Path | None) -> None:
        self.head = head
        self.entries: list[Entry] = []
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._place = None if folder is None else folder.absolute() / UNSENT / head.key
        self._made = self._place  # what is removed in the end, and locked until then, even if the disk was full
        self._file: FileIO | None = None  # without a buffer, which a forked worker or a full disk would write again

    @property
    def place(self) -> Path | None:
        """The folder on disk; None if nothing is kept there."""
        return self._place

    def add(self, entry: Entry) -> None:
        """Keep an entry, with a copy of its file; a disk that cannot be written is warned of once."""
        kept = entry
        try:
            if entry.kind == "file":
                kept = replace(entry, data={**entry.data, "path": str(self._copy(Path(entry.data["path"])))})
            line = asdict(kept)
            if entry.kind == "file" and self._place is not None:
                line["data"]["path"] = str(Path(kept.data["path"]).relative_to(self._place))
            self._write(line)
        except OSError as error:
            if self._place is not None:
                logger.warning("%s: what the store lacks cannot be kept there (%s)", self._place, error)
                self._mark_cut()
            self._place = None
        self.entries.append(kept)

    def close(self) -> None:
        """Let go of the lock: from now on anybody may send it."""
        if self._file is not None:
            _open_files.discard(self._file)
            self._file.close()
            self._file = None

    def clear(self) -> None:
        """All of it was written."""
        self.entries = []
        if self._made is not None:
            _remove(self._made)
        self.close()

    def _write(self, line: Mapping[str, object]) -> None:
        if self._place is None:
            return
        if self._file is None:
            self._place.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self._place / JOURNAL, "a")
            _open_files.add(self._file)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _append(self._file, asdict(self.head))
        _append(self._file, line)

    def _mark_cut(self) -> None:
        """Say so in the head, whose bytes are there: a full disk takes other ones in their place."""
        if self._file is None or self._made is None:
            return
        if os.fstat(self._file.fileno()).st_size < len(_line(asdict(self.head))):
            _remove(self._made)  # not even its head was written
            return
        with suppress(OSError):
            fcntl.fcntl(self._file, fcntl.F_SETFL, 0)  # no longer appended to
            os.pwrite(self._file.fileno(), _line(asdict(replace(self.head, cut=True)), b" \n"), 0)

    def _copy(self, path: Path) -> Path:
        """A copy under the file's own name, which is its name among the artefacts: the original may be written over."""
        if self._place is None and self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="unsent-")
        parent = self._place or Path(self._copies.name if self._copies else "")
        target = parent / f"{len(self.entries):04d}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(path, target))


def send(client: MlflowClient, uri: str, head: Head, entries: list[Entry]) -> str:
    """Write what a journal holds to its run, which is begun if it was not; the run's id.

    Raises:
        Whatever a store, its driver or the network raises; then all of it may be sent again.
    """
    run_id = head.run_id or _begin(client, uri, head)
    for entry in entries:
        try:
            entry.write(client, run_id)
        except MlflowException as error:
            if error.error_code not in _REFUSED:
                raise
            logger.warning("the store refuses a %s of run %s, which is left out (%s)", entry.kind, run_id, error)
        except FileNotFoundError as error:
            logger.warning("a file of run %s is gone, and left out (%s)", run_id, error)
    return run_id


def journals(folder: Path, *, below: bool = False) -> list[Path]:
    """The journals in a folder of checkpoints (and anywhere below it), the earliest first."""
    pattern = f"{UNSENT}/*/{JOURNAL}"
    return sorted(folder.rglob(pattern) if below else folder.glob(pattern), key=lambda path: path.parent.name)


def head_of(path: Path) -> Head | None:
    """Which run a journal on disk belongs to; None if it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return Head(**json.loads(file.readline()))
    except (OSError, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Sent:
    """A journal that was written to its store: the run's name (or id), the store, how many entries, and whether what
    came after them is lost."""

    run: str
    uri: str
    entries: int
    cut: bool = False


def send_file(path: Path, configured: str, *, forced: bool = False) -> Sent:
    """Send a journal that lies on disk and remove it; a run whose process left no end is closed as KILLED.

    Where the disk was full, nobody knows how the run ended: it stays open, and its tag ``incomplete`` says why.

    Args:
        path: of its ``journal.jsonl``.
        configured: a store with the password that a journal does not hold; used if it is the journal's own.
        forced: use ``configured`` whatever the journal says: the store has moved.

    Raises:
        TrackingError: its process is still running, it cannot be read, or the store or the run is not there.
    """
    with _held(path) as file:
        head, entries = _read(path, file)
        uri = configured if forced or redact(configured) == head.uri else head.uri
        database = sqlite_path(uri)
        if head.run_id is not None and database is not None and not database.is_file():
            raise TrackingError("the store of this run is not there", where=database, how="name it with --tracking_uri")
        try:
            client = open_store(uri)
            run_id = send(client, uri, head, entries)
            if head.owner and not any(entry.kind == "end" for entry in entries):
                if head.cut:
                    client.set_tag(run_id, INCOMPLETE, CUT)
                else:
                    _close_as_killed(client, run_id)
            name = str(client.get_run(run_id).info.run_name or run_id)
        except Exception as error:  # whatever a store, its driver or the network raises
            reason = redact(str(error).strip().partition("\n")[0])[:300]
            what = f"the run cannot be written to {redact(uri)} ({reason})"
            how = "try again when the store is back; --tracking_uri names one that has moved"
            raise TrackingError(what, where=path, how=how) from error
        if head.run_id is None:
            try:
                _name_run(path, head, run_id)
            except OSError as error:
                logger.warning("run %s is in the store, but %s cannot name it (%s)", name, path.parents[2], error)
        _remove(path.parent)
        return Sent(name, redact(uri), len(entries), head.cut)


class _held:
    """A journal opened and locked; ``TrackingError`` if its process holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> TextIO:
        try:
            # network file systems lock only what may be written; bytes that are no UTF-8 are a damaged line
            self.file = self.path.open("r+", encoding="utf-8", errors="replace")
        except OSError as error:
            raise TrackingError(f"the journal cannot be read ({error.strerror})", where=self.path) from error
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            if not isinstance(error, BlockingIOError):
                raise TrackingError(f"the journal cannot be locked ({error.strerror})", where=self.path) from error
            how = "it writes what is missing itself, once the store answers"
            raise TrackingError("its training is still running", where=self.path, how=how) from None
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _read(path: Path, file: TextIO) -> tuple[Head, list[Entry]]:
    try:
        lines = file.read().splitlines()
    except OSError as error:
        raise TrackingError(f"the journal cannot be read ({error.strerror})", where=path) from error
    found = []
    for number, line in enumerate(lines):
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            if number == len(lines) - 1 and number:  # the process ended while it wrote
                break
            raise TrackingError("the journal is damaged", where=path, how=f"see line {number + 1}") from None
    try:
        head, entries = Head(**found[0]), [_located(Entry(**each), path.parent.resolve()) for each in found[1:]]
        if not all(isinstance(each, str) for each in (head.uri, head.run_id or "", head.key)):
            raise TypeError(head)
    except (IndexError, KeyError, TypeError, ValueError, OSError, RuntimeError):
        raise TrackingError("this is no journal of a run", where=path) from None
    return head, entries


def _located(entry: Entry, place: Path) -> Entry:
    """The entry with its file's whole path: a copy beside the journal, since folders of checkpoints are passed on, and
    one that named other files would send them to whatever store it names.

    Raises:
        ValueError: the file is not one of the journal's copies.
    """
    if entry.kind != "file":
        return entry
    path = (place / entry.data["path"]).resolve()
    if not path.is_relative_to(place):
        raise ValueError(path)
    return replace(entry, data={**entry.data, "path": str(path)})


def _begin(client: MlflowClient, uri: str, head: Head) -> str:
    experiment = experiment_id(client, uri, head.experiment, head.description)
    earlier = client.search_runs([experiment], f"tags.{_KEY} = '{head.key}'")
    if earlier:
        return str(earlier[0].info.run_id)
    tags = {**head.tags, _KEY: head.key}
    return str(client.create_run(experiment, start_time=head.started, run_name=head.run_name, tags=tags).info.run_id)


def _close_as_killed(client: MlflowClient, run_id: str) -> None:
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_tag(run_id, "exit_reason", "the process vanished while the store was away")
        client.set_terminated(run_id, "KILLED")
    is_complete(client, run_id)


def _name_run(path: Path, head: Head, run_id: str) -> None:
    """``run.json``, which the training could not write; one that lies there is a later training's."""
    folder = path.parents[2]
    if read_run_file(folder) is None and head.owner:
        started = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(head.started / 1000))
        write_run_file(folder, RunRecord(run_id, head.experiment, head.uri, head.network, started))


def _line(content: Mapping[str, object], end: bytes = b"\n") -> bytes:
    return json.dumps(content).encode() + end


def _append(file: FileIO, line: Mapping[str, object]) -> None:
    text = _line(line)
    if file.write(text) != len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):  # another journal lies there, or somebody else has removed it
        place.parent.rmdir()
