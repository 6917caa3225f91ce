"""The queue of series, on the disk: what was received, what is predicted, what is sent. It survives a kill."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import OutputError

RECEIVING, PREDICTING, SENDING, DONE, FAILED = "receiving", "predicting", "sending", "done", "failed"
STATES = (RECEIVING, PREDICTING, SENDING, DONE, FAILED)
MOST_TRIES = 8  # predictions of a series that ended with the process, before it is left
_FILE = "queue.sqlite"
_VERSION = 1
_TABLES = """
CREATE TABLE series (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, generation INTEGER NOT NULL, cut INTEGER NOT NULL,
    tries INTEGER NOT NULL, fault TEXT, received REAL NOT NULL, changed REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX series_by_state ON series (state);
CREATE TABLE instance (
    series TEXT NOT NULL, instance TEXT NOT NULL, content TEXT NOT NULL, file TEXT NOT NULL,
    PRIMARY KEY (series, instance)
) WITHOUT ROWID;
CREATE TABLE result (
    uid TEXT PRIMARY KEY, series TEXT NOT NULL, generation INTEGER NOT NULL, sop_class TEXT NOT NULL,
    syntax TEXT NOT NULL, file TEXT NOT NULL, sent REAL
) WITHOUT ROWID;
CREATE INDEX result_by_series ON result (series);
"""


@dataclass(frozen=True)
class Job:
    """A series to predict: its key, which of its versions, and its files."""

    key: str
    generation: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ResultObject:
    """An object to send: its UIDs, and its file below the folder of the queue."""

    uid: str
    sop_class: str
    syntax: str
    file: Path
    series: str = ""


class SeriesQueue:
    """Series by a digest of their UIDs, with the files of their instances and of their results.

    A series is ``receiving`` until it is complete, then ``predicting``, ``sending`` and ``done``, or ``failed`` with
    its fault. An instance that it did not have, or has with another content, makes it a new version (``generation``),
    which is received and answered anew; results of an older version that are not sent yet are not sent any more. What
    is known already changes nothing. Each change is on the disk before the call returns.

    Args:
        folder: made if missing; ``queue.sqlite`` lies in it.

    Raises:
        OutputError: the folder cannot be used, or the queue in it is damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        path = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
            elif version != _VERSION:
                how = "use the release that made it, or another --out"
                raise OutputError(f"the queue is of version {version}, not {_VERSION}", where=path, how=how)
        except (OSError, sqlite3.Error) as error:
            how = "check the folder and its rights, or use another --out"
            raise OutputError(f"the queue cannot be used ({error})", where=path, how=how) from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    # --- what is received

    def content_of(self, series: str, instance: str) -> str | None:
        """The digest of an instance's content, if it is there."""
        rows = self._rows("SELECT content FROM instance WHERE series = ? AND instance = ?", series, instance)
        return rows[0]["content"] if rows else None

    def store(self, series: str, instance: str, content: str, file: Path) -> Path | None:
        """Note an instance whose file is in place.

        Args:
            series, instance, content: digests.
            file: below the folder.

        Returns:
            The file of an earlier content, which is not needed any more.
        """
        now = time.time()
        with self._change() as db:
            earlier = db.execute(
                "SELECT content, file FROM instance WHERE series = ? AND instance = ?", (series, instance)
            ).fetchone()
            if earlier is not None and earlier["content"] == content:
                return None
            db.execute(
                "INSERT INTO series VALUES (?, ?, 1, 1, 0, NULL, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "state = excluded.state, generation = generation + 1, cut = 1, tries = 0, fault = NULL, "
                "changed = excluded.changed",
                (series, RECEIVING, now, now),
            )
            db.execute("DELETE FROM result WHERE series = ? AND sent IS NULL", (series,))
            db.execute(
                "INSERT OR REPLACE INTO instance VALUES (?, ?, ?, ?)", (series, instance, content, self._below(file))
            )
        return None if earlier is None else self.folder / earlier["file"]

    def released(self, series: Sequence[str]) -> None:
        """The associations that brought these series were released, and not cut off."""
        if series:
            with self._change() as db:
                db.executemany("UPDATE series SET cut = 0 WHERE key = ?", [(key,) for key in series])

    def waiting(self) -> list[str]:
        """The series that are not predicted yet: those tried least first, then the oldest."""
        query = "SELECT key FROM series WHERE state = ? ORDER BY tries, changed"
        return [row["key"] for row in self._rows(query, RECEIVING)]

    def files(self) -> set[Path]:
        """All received files that belong to a series."""
        return {self.folder / row["file"] for row in self._rows("SELECT file FROM instance")}

    # --- what is predicted

    def recover(self) -> tuple[dict[str, bool], list[str]]:
        """After a start: what was being predicted waits again.

        Returns:
            The series that wait, with whether what brought them was cut off; and those that are given up, because the
            process ended ``MOST_TRIES`` times while it predicted them.
        """
        with self._change() as db:
            reason = f"the node ended {MOST_TRIES} times while it predicted this series; it is left"
            lost = db.execute(
                "SELECT key FROM series WHERE state = ? AND tries >= ?", (PREDICTING, MOST_TRIES)
            ).fetchall()
            db.execute(
                "UPDATE series SET state = ?, fault = ? WHERE state = ? AND tries >= ?",
                (FAILED, reason, PREDICTING, MOST_TRIES),
            )
            db.execute("UPDATE series SET state = ? WHERE state = ?", (RECEIVING, PREDICTING))
            waiting = db.execute("SELECT key, cut FROM series WHERE state = ?", (RECEIVING,)).fetchall()
        return {row["key"]: bool(row["cut"]) for row in waiting}, [row["key"] for row in lost]

    def retry_failed(self) -> int:
        """Failed series wait again: to be sent, where they have results, else to be predicted; how many."""
        with self._change() as db:
            db.execute(
                "UPDATE series SET state = ?, fault = NULL WHERE state = ? AND EXISTS "
                "(SELECT 1 FROM result WHERE series = key AND sent IS NULL)",
                (SENDING, FAILED),
            )
            sending = db.execute("SELECT changes()").fetchone()[0]
            db.execute(
                "UPDATE series SET state = ?, fault = NULL, tries = 0, cut = 0 WHERE state = ?", (RECEIVING, FAILED)
            )
            return int(sending + db.execute("SELECT changes()").fetchone()[0])

    def begin(self, series: str) -> Job | None:
        """A series is predicted now; None where it does not wait."""
        with self._change() as db:
            row = db.execute(
                "SELECT generation FROM series WHERE key = ? AND state = ?", (series, RECEIVING)
            ).fetchone()
            if row is None:
                return None
            db.execute("UPDATE series SET state = ?, tries = tries + 1 WHERE key = ?", (PREDICTING, series))
            files = db.execute("SELECT file FROM instance WHERE series = ? ORDER BY file", (series,)).fetchall()
        return Job(series, row["generation"], tuple(self.folder / each["file"] for each in files))

    def put_back(self, job: Job) -> None:
        """A prediction was interrupted, by no fault of the series."""
        with self._change() as db:
            db.execute(
                "UPDATE series SET state = ?, tries = tries - 1 WHERE key = ? AND generation = ? AND state = ?",
                (RECEIVING, job.key, job.generation, PREDICTING),
            )

    def answered(self, job: Job, results: Sequence[ResultObject], *, send: bool) -> bool:
        """The results of a series are on the disk; False where it has become a new version meanwhile, so that they
        answer nothing."""
        with self._change() as db:
            if not self._is_current(db, job):
                return False
            db.executemany(
                "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?, NULL)",
                [(r.uid, job.key, job.generation, r.sop_class, r.syntax, self._below(r.file)) for r in results],
            )
            db.execute(
                "UPDATE series SET state = ?, tries = 0, fault = NULL, changed = ? WHERE key = ?",
                (SENDING if send else DONE, time.time(), job.key),
            )
        return True

    def failed(self, job: Job, fault: str) -> bool:
        """A series cannot be predicted; False where it has become a new version meanwhile."""
        with self._change() as db:
            if not self._is_current(db, job):
                return False
            db.execute(
                "UPDATE series SET state = ?, fault = ?, tries = 0, changed = ? WHERE key = ?",
                (FAILED, fault, time.time(), job.key),
            )
        return True

    @staticmethod
    def _is_current(db: sqlite3.Connection, job: Job) -> bool:
        row = db.execute("SELECT state, generation FROM series WHERE key = ?", (job.key,)).fetchone()
        return row is not None and (row["state"], row["generation"]) == (PREDICTING, job.generation)

    # --- what is sent

    def unsent(self) -> list[ResultObject]:
        """What is to be sent, the oldest series first."""
        rows = self._rows(
            "SELECT uid, sop_class, syntax, file, series FROM result JOIN series ON series = key "
            "WHERE state = ? AND sent IS NULL ORDER BY changed, file",
            SENDING,
        )
        return [
            ResultObject(row["uid"], row["sop_class"], row["syntax"], self.folder / row["file"], row["series"])
            for row in rows
        ]

    def sent(self, result: ResultObject) -> bool:
        """The destination has an object; whether it was the last of its series."""
        with self._change() as db:
            now = time.time()
            db.execute("UPDATE result SET sent = ? WHERE uid = ?", (now, result.uid))
            db.execute(
                "UPDATE series SET state = ?, changed = ? WHERE key = ? AND state = ? AND NOT EXISTS "
                "(SELECT 1 FROM result WHERE series = key AND sent IS NULL)",
                (DONE, now, result.series, SENDING),
            )
            return bool(db.execute("SELECT changes()").fetchone()[0])

    def refused(self, series: str, fault: str) -> None:
        """The destination does not take a series' results."""
        with self._change() as db:
            db.execute(
                "UPDATE series SET state = ?, fault = ?, changed = ? WHERE key = ? AND state = ?",
                (FAILED, fault, time.time(), series, SENDING),
            )

    # --- what is there

    def finished_before(self, when: float) -> list[str]:
        """Series that were done or failed before a time (seconds since 1970) and still have their received files."""
        query = (
            "SELECT key FROM series WHERE state IN (?, ?) AND changed < ? AND EXISTS "
            "(SELECT 1 FROM instance WHERE series = key)"
        )
        return [row["key"] for row in self._rows(query, DONE, FAILED, when)]

    def drop_received(self, series: str) -> tuple[list[Path], list[Path]]:
        """Forget what was received of a done or failed series, and its results that were sent; the files of both, to
        be deleted."""
        with self._change() as db:
            row = db.execute(
                "SELECT 1 FROM series WHERE key = ? AND state IN (?, ?)", (series, DONE, FAILED)
            ).fetchone()
            if row is None:
                return [], []
            received = db.execute("SELECT file FROM instance WHERE series = ?", (series,)).fetchall()
            sent = db.execute("SELECT file FROM result WHERE series = ? AND sent IS NOT NULL", (series,)).fetchall()
            db.execute("DELETE FROM instance WHERE series = ?", (series,))
        return [self.folder / row["file"] for row in received], [self.folder / row["file"] for row in sent]

    def _below(self, file: Path) -> str:
        return str(file.relative_to(self.folder))


def queue_report(folder: Path) -> dict[str, Any]:
    """What a queue holds, also while a node works on it: ``counts`` by state, and ``series``, the newest first.

    Raises:
        OutputError: there is no queue, or it cannot be read.
    """
    path = folder / _FILE
    if not path.is_file():
        raise OutputError("there is no queue here", where=folder, how="name the --out of a node")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            rows = db.execute(
                "SELECT key AS series, state, fault, received, changed, "
                "(SELECT COUNT(*) FROM instance WHERE series = key) AS instances, "
                "(SELECT COUNT(*) FROM result WHERE series = key) AS results, "
                "(SELECT COUNT(*) FROM result WHERE series = key AND sent IS NOT NULL) AS sent "
                "FROM series ORDER BY changed DESC"
            ).fetchall()
    except sqlite3.Error as error:
        raise OutputError(f"the queue cannot be read ({error})", where=path) from error
    series = [dict(row) for row in rows]
    return {"counts": {state: sum(each["state"] == state for each in series) for state in STATES}, "series": series}
