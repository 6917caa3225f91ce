"""Every fold is left out and measured once, in processes that can be stopped and gone on from; and the run of all."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.cross_validation import CrossValidation, cross_validate
from pipelines.cross_validation.processes import Processes, Stopped
from pipelines.errors import DatalistError, OutputError, UsageError
from pipelines.files import held


def calls(plan: CrossValidation) -> list[list[str]]:
    path = plan.prepared.parent / "calls.txt"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def runs(plan: CrossValidation) -> list:
    client = MlflowClient(tracking_uri=plan.uri)
    return client.search_runs([each.experiment_id for each in client.search_experiments()])


def test_all_folds_are_one_run(plan: CrossValidation) -> None:
    said: list[str] = []
    result = cross_validate(plan, say=said.append)
    assert result.summary["test_lesion_dice"].estimate == pytest.approx(0.25)  # of cases 0 to 5
    assert result.summary["test_lesion_dice"].n == 6
    assert "| lesion_dice | 0.2500 | " in result.table
    assert [call[:2] for call in calls(plan)] == [[s, f"fold{k}"] for k in (0, 1) for s in ("train", "evaluate")]
    (parent,) = runs(plan)
    assert {call[2] for call in calls(plan)} == {parent.info.run_id} == {result.run_id}, "the folds' runs are nested"
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["test_lesion_dice"] == pytest.approx(0.25)
    assert parent.data.params["network"] == "tiny_unet"
    assert parent.data.tags["folds"] == "2 of 2"
    assert "fold 1: done, lesion_dice 0.3000" in said
    assert "fold 0: epoch 1 of 1" in said or any("fold 0: training" in line for line in said)


def test_what_is_done_is_kept_and_looked_at_once(plan: CrossValidation) -> None:
    first = cross_validate(plan, [1], say=str)
    assert "Folds 1 of 2" in first.table
    assert first.summary["test_lesion_dice"].n == 3
    begun = len(calls(plan))
    whole = cross_validate(plan, say=str)
    assert [call[:2] for call in calls(plan)[begun:]] == [["train", "fold0"], ["evaluate", "fold0"]]
    assert whole.run_id == first.run_id, "the run is gone on with"
    assert whole.summary["test_lesion_dice"].n == 6
    begun = len(calls(plan))
    again = cross_validate(plan, say=str)
    assert len(calls(plan)) == begun
    assert again == whole
    (parent,) = runs(plan)
    assert parent.data.tags["evaluations"] == "2", "one of one fold, one of both, none of nothing new"


def test_the_sentence_that_a_command_ends_with_is_the_reason(tmp_path: Path) -> None:
    """As MONAI's runner ends: the fault, what it is wrapped in, whose message goes on below, and the sentence."""
    code = """
import sys
print("pipelines.errors.ConfigError: 16 draws cannot be; give what to balance by", file=sys.stderr)
print("RuntimeError: Failed to evaluate ConfigExpression: \\n 'datasets.balanced(...)'", file=sys.stderr)
sys.exit("\\nerror: 16 draws cannot be; give what to balance by")
"""
    with pytest.raises(UsageError, match="it ended with 1: 16 draws cannot be; give what to balance by; mend it"):
        Processes().run([sys.executable, "-c", code], tmp_path / "train.log")


def test_a_fold_that_failed_goes_on_from_its_checkpoint(plan: CrossValidation) -> None:
    (plan.prepared.parent / "fail_fold1").touch()
    with pytest.raises(UsageError, match=r"train.log: fold 1: it ended with 1: out of luck; .*what is done is kept"):
        cross_validate(plan, say=str)
    assert [run.info.status for run in runs(plan)] == ["FAILED"]
    (plan.prepared.parent / "fail_fold1").unlink()
    begun = len(calls(plan))
    cross_validate(plan, say=str)
    assert calls(plan)[begun][:2] == ["train", "fold1"]
    assert calls(plan)[begun][-1] == "resumed"
    assert [run.info.status for run in runs(plan)] == ["FINISHED"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_training(plan: CrossValidation, number: signal.Signals, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.cross_validation.processes._OWN_END", 0.2)
    for k in range(2):
        (plan.prepared.parent / f"hang_fold{k}").touch()
    seen: list[int] = []

    def interrupt() -> None:
        until = time.monotonic() + 60
        while len(calls(plan)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        seen.append(len(calls(plan)))
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            cross_validate(replace(plan, jobs=2), say=str)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert seen == [2]
    assert not _children_of("step.py", plan), "no training outlives the command"
    assert [run.info.status for run in runs(plan)] == ["KILLED"]


def _children_of(script: str, plan: CrossValidation) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        if str(plan.prepared.parent / script) in words:
            found.append(" ".join(words))
    return found


def test_a_folder_holds_folds_of_one_training(plan: CrossValidation, make_prepared: Callable[..., Path]) -> None:
    cross_validate(plan, say=str)
    with pytest.raises(UsageError, match="other settings: knobs; choose another --out"):
        cross_validate(replace(plan, knobs=["--epochs", "2"]), say=str)
    others = make_prepared(plan.prepared.parent / "others", name="other")
    with pytest.raises(UsageError, match="other settings: data, folds"):
        cross_validate(replace(plan, prepared=others), say=str)


def test_what_cannot_be_is_refused_before_anything_starts(
    plan: CrossValidation, make_prepared: Callable[..., Path]
) -> None:
    wrong = {
        "there is no network 'nope'": {"network": "nope"},
        "there is no overlay 'nope'": {"overlays": ["nope"]},
        "is not a list of --KNOB VALUE": {"knobs": ["--epochs"]},
        "'epoch' is no knob": {"knobs": ["--epoch", "2"]},
        "--checkpoint is set for each fold": {"knobs": ["--checkpoint", "x"]},
        "--jobs must be 1": {"jobs": 0},
        "--start and --out must differ": {"start": plan.out},
        "no weights of fold 0": {"start": plan.prepared},
        "only a supervised one": {"bundle": plan.prepared},
    }
    for words, changed in wrong.items():
        with pytest.raises(UsageError, match=words):
            cross_validate(replace(plan, **changed), say=str)
    with pytest.raises(UsageError, match="there is no fold 7"):
        cross_validate(plan, [7], say=str)
    plain = make_prepared(plan.prepared.parent / "plain", folds=0)
    with pytest.raises(DatalistError, match="no folds here"):
        cross_validate(replace(plan, prepared=plain), say=str)
    assert calls(plan) == []
    assert not plan.out.exists()


def test_nothing_is_chosen_on_the_way(plan: CrossValidation) -> None:
    folder = plan.out / "fold1"
    words = replace(plan, knobs=["--epochs", "7"], start=plan.prepared)._training_words(Path("data"), folder, "name")
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert (given["--val_interval"], given["--patience"]) == ("7", "7"), "it ends with the last epoch, never before"
    assert given["--pretrained"] == str(plan.prepared / "fold1" / "last.pt"), "never weights that saw this fold"
    assert "--resume" not in given
    folder.mkdir(parents=True)
    (folder / "last.pt").touch()
    assert plan._training_words(Path("data"), folder, "name")[-2:] == ["--resume", "True"]


def test_processes_that_are_stopped_begin_no_more(tmp_path: Path) -> None:
    with Processes() as processes:
        processes.stop()
        with pytest.raises(Stopped):
            processes.run(["true"], tmp_path / "log")
    assert not json.loads((tmp_path / "log").read_text() or "[]")


def test_a_second_call_of_one_folder_is_refused(plan: CrossValidation) -> None:
    with held(plan.out, ".cross_validation.lock"), pytest.raises(OutputError, match="another call is writing here"):
        cross_validate(plan)
    assert calls(plan) == []
