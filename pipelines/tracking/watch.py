"""The training's end of the pipe to ``watcher_process``, which closes the run of a training that was killed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_SCRIPT = Path(__file__).with_name("watcher_process.py")
_open_ends: set[int] = set()  # write ends in this process


def _close_in_child() -> None:
    """A forked DataLoader worker that holds the pipe would hide for seconds that the training has died."""
    for end in _open_ends:
        os.close(end)
    _open_ends.clear()


os.register_at_fork(after_in_child=_close_in_child)


class RunWatch:
    """Watches this process for the run ``run_id`` of the store ``uri`` until ``close``; its journals are in ``unsent``.

    The watcher has its own session, and no file, terminal or directory of ours: it keeps nothing open or alive.
    """

    def __init__(self, uri: str, run_id: str, unsent: Path | None = None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._end = -1
        read_end, self._end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-E", "-P", str(_SCRIPT), run_id, str(unsent or "")],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "MLFLOW_TRACKING_URI": uri},
            )
        except OSError as error:
            logging.getLogger(__name__).debug("no watcher (%s): the next run will find this one if it dies", error)
            os.close(self._end)
        else:
            _open_ends.add(self._end)
        finally:
            os.close(read_end)

    def close(self, word: str = "done") -> None:
        """Let the watcher go: ``done``, ``unsent`` (a journal is to be sent), or ``lost`` (the store failed, and so did
        the disk)."""
        if self._process is None or self._end not in _open_ends:
            return
        _open_ends.discard(self._end)
        with suppress(OSError):  # the watcher was killed: nobody reads
            os.write(self._end, word.encode())
        os.close(self._end)
        if word == "done":
            with suppress(subprocess.TimeoutExpired):  # on a machine under heavy load it ends by itself, later
                self._process.wait(timeout=5)
        self._process = None
