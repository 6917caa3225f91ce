"""The small process that outlives a training by some seconds and closes its run if nobody else could.

Started by ``watch.RunWatch`` as ``python -S -E -P watcher_process.py RUN_ID`` with a pipe from the training as its
standard input. It waits for the end of that pipe, which comes even when the training is killed by SIGKILL, with nothing
but the bare interpreter loaded. Then it reads what the training left in the pipe: ``done`` (nothing to do), a status
that the training could not write itself, or nothing, which means that it was killed. Only in the two last cases does it
start again with MLflow, and close the run, unless that is no longer RUNNING. The store is ``MLFLOW_TRACKING_URI``.
"""

from __future__ import annotations

import os
import sys


def wait(run_id: str) -> None:
    word = sys.stdin.buffer.read().decode()
    if word != "done":
        os.execv(sys.executable, [sys.executable, "-P", __file__, run_id, word or "VANISHED"])


def close(run_id: str, word: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    if client.get_run(run_id).info.status != "RUNNING":
        return
    if word == "VANISHED":
        client.set_tag(run_id, "exit_reason", "the process vanished (SIGKILL, out of memory)")
    client.set_terminated(run_id, "KILLED" if word == "VANISHED" else word)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        wait(sys.argv[1])
    else:
        close(sys.argv[1], sys.argv[2])
