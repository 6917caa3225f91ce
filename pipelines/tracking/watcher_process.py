"""The small process that outlives a training by some seconds and closes its run if nobody else could.

Started by ``watch.RunWatch`` as ``python -S -E -P watcher_process.py RUN_ID UNSENT`` with a pipe from the training as
its standard input. It waits for the end of that pipe, which comes even when the training is killed by SIGKILL, with
nothing but the bare interpreter loaded. Then it reads what the training left in the pipe: ``done`` (nothing to do),
``unsent`` (what the store lacks lies in the folder UNSENT), ``lost`` (it lies nowhere), or nothing, which means that it
was killed. Only in the three last cases does it start again with MLflow, and write what is missing and close the run,
unless that is no longer RUNNING. The store is ``MLFLOW_TRACKING_URI``.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

_SQLITE = "sqlite:///"


def wait(run_id: str, unsent: str) -> None:
    word = sys.stdin.buffer.read().decode()
    if word != "done":
        os.execv(sys.executable, [sys.executable, "-P", __file__, run_id, unsent, word or "vanished"])  # noqa: S606 - this file


def close(run_id: str, unsent: str, word: str) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith(_SQLITE) and not Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0])).is_file():
        return  # it was removed, and its run with it: MLflow would make another
    client = MlflowClient()
    if client.get_run(run_id).info.status != "RUNNING":
        return
    if unsent and Path(unsent).is_dir():
        sys.path.append(str(Path(__file__).resolve().parents[2]))  # the package need not be installed
        from pipelines.tracking.journal import head_of, journals, send_file

        mine = [each for each in journals(Path(unsent).parent) if getattr(head_of(each), "run_id", None) == run_id]
        for journal in mine:
            send_file(journal, uri)
        if mine:
            return
    if word == "vanished":
        client.set_tag(run_id, "exit_reason", "the process vanished (SIGKILL, out of memory)")
    else:
        client.set_tag(run_id, "exit_reason", "the store failed, and what followed was not kept")
    client.set_terminated(run_id, "KILLED" if word == "vanished" else "FAILED")
    if word == "vanished":
        with suppress(MlflowException):  # a run of an earlier version has none
            client.delete_tag(run_id, "incomplete")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        wait(*sys.argv[1:])
    else:
        close(*sys.argv[1:])
