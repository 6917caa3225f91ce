"""One training of a bundle and the measurement of its last weights, each a process of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path

from pipelines.cross_validation.plan import CrossValidation, Say
from pipelines.cross_validation.processes import Processes
from pipelines.errors import UsageError
from pipelines.files import text, write_file
from pipelines.tracking import PARENT_RUN

TRAINED = "trained.json"  # in a training's folder, once it is done


def train_and_measure(
    plan: CrossValidation,
    data: Path,
    folder: Path,
    run_name: str,
    processes: Processes,
    parent: str | None,
    *,
    say: Say,
    training: str,
    measuring: str,
) -> None:
    """Train in ``data`` and measure the weights of the last epoch on its test part; results lie in ``folder``.

    A training that is done (``trained.json``) stays, one that was begun goes on from its last checkpoint.

    Args:
        plan: gives the commands.
        run_name: of the training's run. parent: the run that it is nested in; None for none.
        say: told ``training``, ``measuring``, and some epochs.

    Raises:
        UsageError: a step failed, with the last words of its log.
    """
    environment = {PARENT_RUN: parent} if parent else {}
    if not (folder / TRAINED).is_file():
        say(training)
        begun = time.monotonic()
        processes.run(plan.training(data, folder, run_name), folder / "train.log", environment, plan.progress(say))
        if not (folder / "last.pt").is_file():
            raise UsageError("the training left no last.pt", where=folder, how="read train.log")
        note_done(folder / TRAINED, seconds=round(time.monotonic() - begun, 1))
    say(measuring)
    processes.run(plan.evaluation(data, folder), folder / "evaluate.log", environment)


def note_done(path: Path, **facts: float) -> None:
    """Write the mark of a step that is done."""
    write_file(path, text(json.dumps(facts) + "\n"))
