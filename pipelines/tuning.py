"""Searches a bundle's knobs with Optuna: each trial is a training of its own, a run nested in the study's."""

from __future__ import annotations

import csv
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from monai.bundle import ConfigParser

from pipelines.bundle import description, run_environment
from pipelines.errors import ConfigError, UsageError
from pipelines.files import held
from pipelines.prediction import network_overlays
from pipelines.tracking import PARENT_RUN
from pipelines.tracking.run_file import read_run_file
from pipelines.tracking.run_writer import RunWriter
from pipelines.tracking.store import open_store

logger = logging.getLogger(__name__)

_KINDS = ({"low", "high"}, {"low", "high", "log"}, {"low", "high", "step"}, {"choices"})
_GRACE = 60.0  # seconds that a pruned training has to end itself


@dataclass(frozen=True)
class Study:
    """What is searched, and where.

    Attributes:
        bundle: its folder.
        network: an overlay of ``configs/networks``; None for the bundle's own.
        ranges: knob to ``{low, high}`` (with ``log: true`` or ``step``) or ``{choices}``.
        knobs: words of the training's command that all trials share, such as ``--dataset_dir DIR``.
        out: folder of the study and of its trials' checkpoints.
        uri: the tracking store.
        seed: of the sampler; trials train with the config's own.
        patience: epochs before a trial may be pruned.
    """

    bundle: Path
    network: str | None
    ranges: Mapping[str, Mapping[str, Any]]
    knobs: Sequence[str]
    out: Path
    uri: str
    seed: int = 0
    patience: int = 3


def read_ranges(path: Path, bundle: Path) -> dict[str, dict[str, Any]]:
    """The ranges that a YAML file declares, each of a knob that the bundle's training has.

    Raises:
        ConfigError: the file is missing or malformed, or names what is no knob.
    """
    how = "write KNOB: {low: 1.0e-4, high: 1.0e-2, log: true}, or KNOB: {choices: [16, 32]}"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"the ranges cannot be read ({error})", where=path, how=how) from None
    if not isinstance(found, dict) or not found:
        raise ConfigError("the file declares no ranges", where=path, how=how)
    known = ConfigParser.load_config_file(str(bundle / "configs" / "train.yaml"))
    for knob, given in found.items():
        if knob not in known or isinstance(known[knob], dict):
            raise ConfigError(f"{knob!r} is no knob of the training", where=path, how="see the head of train.yaml")
        if not isinstance(given, dict) or set(given) not in _KINDS:
            raise ConfigError(f"the range of {knob} is not understood", where=path, how=how)
        if "choices" in given:
            if not isinstance(given["choices"], list) or not given["choices"]:
                raise ConfigError(f"{knob} has no choices", where=path, how=how)
        elif not all(isinstance(given[end], (int, float)) for end in ("low", "high")) or given["low"] >= given["high"]:
            raise ConfigError(f"the range of {knob} needs numbers, low below high", where=path, how=how)
        elif given.get("log") and given["low"] <= 0:
            raise ConfigError(f"the range of {knob} is logarithmic and begins at {given['low']}", where=path, how=how)
    return found


def tune(study: Study, trials: int) -> optuna.Study:
    """Search until ``trials`` trials have been trained to their end or pruned, those of earlier calls included.

    A trial draws its knobs (tree-structured Parzen estimator), trains the bundle in a process of its own, and is
    judged by the metric that chooses the training's checkpoint, which is always one of which more is better. It is
    pruned when it does worse than the median of the earlier ones at the same epoch. The study lies in
    ``OUT/study.db``: a call with the same folder goes on with it. Results go to ``OUT/trials.csv`` and
    ``OUT/best.json`` after every trial.

    Raises:
        UsageError: no such network; the folder holds a study of something else; fewer than one trial is asked for.
        OutputError: the folder cannot be written, or another call searches in it.
    """
    if trials < 1:
        raise UsageError(f"--trials must be 1 or more, got {trials}")
    if study.network is not None and study.network not in network_overlays(study.bundle):
        names = ", ".join(network_overlays(study.bundle))
        raise UsageError(f"there is no network {study.network!r}", where=study.bundle, how=f"choose from {names}")
    with held(study.out, ".tuning.lock"):
        return _search(study, trials)


def _search(study: Study, trials: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(
        storage=f"sqlite:///{study.out / 'study.db'}",
        study_name="study",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=study.seed, n_startup_trials=5),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=study.patience),
    )
    _same_search(search, study)
    for left in search.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # their process is gone
        search.tell(left.number, state=optuna.trial.TrialState.FAIL)
    parent = _parent_run(search, study)
    while (done := len(_ended(search))) < trials:
        trial = search.ask()
        value = _train(study, trial, parent.run_id)
        if value is None:
            search.tell(trial, state=optuna.trial.TrialState.FAIL)
            failed = len(search.get_trials(states=(optuna.trial.TrialState.FAIL,)))
            if done == 0 and failed >= 3:
                raise UsageError(
                    "three trials failed and none succeeded", where=_folder(study, trial) / "train.log",
                    how="read its last lines: a knob or the data may be wrong",
                )  # fmt: skip
        elif trial.user_attrs.get("pruned"):
            search.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            search.tell(trial, value)
        _write(search, study, parent)
    parent.end("FINISHED")
    return search


def best_command(search: optuna.Study, study: Study) -> list[str]:
    """The training's command with the best trial's knobs."""
    return _command(study, search.best_params, study.out / "best")


def _same_search(search: optuna.Study, study: Study) -> None:
    """A folder holds one search: other data, another network or other ranges would be compared with it."""
    mine = {"bundle": study.bundle.name, "network": study.network or "", "ranges": json.loads(json.dumps(study.ranges))}
    mine["knobs"] = list(study.knobs)
    earlier = search.user_attrs.get("search")
    if earlier is None:
        search.set_user_attr("search", mine)
    elif earlier != mine:
        what = ", ".join(key for key in mine if earlier.get(key) != mine[key])
        raise UsageError(f"the study here was of another {what}", where=study.out, how="choose another --out")


def _parent_run(search: optuna.Study, study: Study) -> RunWriter:
    """The run that the trials' are nested in; a study that goes on gets its run back."""
    earlier = search.user_attrs.get("run")
    if earlier:
        writer = RunWriter(study.uri, earlier, study.out)
        if writer.exists():
            return writer
    writer = RunWriter(study.uri, folder=study.out)
    about = description(study.bundle)
    started = writer.start(study.bundle.name, f"tuning-{study.out.name}", {"tuning": "study"}, about)
    writer.params({f"range_{knob}": json.dumps(given) for knob, given in study.ranges.items()})
    if started is not None:
        search.set_user_attr("run", started)
    return writer


def _draw(trial: optuna.Trial, ranges: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws each knob into ``trial.params``; of choices, which may be lists, the JSON."""
    for knob, given in ranges.items():
        if "choices" in given:
            trial.suggest_categorical(knob, [json.dumps(each) for each in given["choices"]])
            continue
        low, high, log = given["low"], given["high"], bool(given.get("log", False))
        if isinstance(low, int) and isinstance(high, int):
            trial.suggest_int(knob, low, high, step=int(given.get("step", 1)), log=log)
        else:
            trial.suggest_float(knob, low, high, step=given.get("step"), log=log)


def _command(study: Study, params: Mapping[str, Any], folder: Path) -> list[str]:
    files = [str(study.bundle / "configs" / "train.yaml")]
    if study.network is not None:
        files.append(str(network_overlays(study.bundle)[study.network]))
    words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files)]
    words += ["--bundle_root", str(study.bundle), "--tracking_uri", study.uri, *study.knobs]
    for knob, value in params.items():
        words += [f"--{knob}", str(json.loads(value) if "choices" in study.ranges[knob] else value)]
    return [*words, "--ckpt_dir", str(folder)]


def _folder(study: Study, trial: optuna.Trial) -> Path:
    return study.out / f"trial{trial.number:03d}"


def _train(study: Study, trial: optuna.Trial, parent: str | None) -> float | None:
    """Trains one trial; its best value, or None where the training failed."""
    folder = _folder(study, trial)
    folder.mkdir(parents=True, exist_ok=True)
    _draw(trial, study.ranges)
    command = [*_command(study, trial.params, folder), "--run_name", f"{study.out.name}-{folder.name}"]
    env = run_environment() | ({PARENT_RUN: parent} if parent else {})
    with (folder / "train.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            curve = _watch(study, trial, folder, process)
        except BaseException:
            _stop(process)
            raise
    if trial.user_attrs.get("pruned"):
        record = read_run_file(folder)
        if record is not None:
            RunWriter(study.uri, record.run_id).tags({"pruned": "true"})
        return max(curve.values())
    return max(curve.values()) if process.returncode == 0 and curve else None


def _watch(study: Study, trial: optuna.Trial, folder: Path, process: subprocess.Popen) -> dict[int, float]:
    """Reports each epoch to the study until the training ends or is pruned; the metric by epoch."""
    client = open_store(study.uri)
    metric = _key_metric(study.bundle)
    seen: dict[int, float] = {}
    while True:
        ended = process.poll() is not None  # before reading, so that nothing is missed
        for epoch, value in _curve(client, folder, metric).items():
            if epoch not in seen and value == value:
                seen[epoch] = value
                trial.report(value, epoch)
        if ended:
            return seen
        if seen and trial.should_prune():
            _stop(process)
            trial.set_user_attr("pruned", True)
            return seen
        time.sleep(1.0)


def _curve(client: MlflowClient, folder: Path, metric: str) -> dict[int, float]:
    record = read_run_file(folder)
    if record is None:
        return {}
    try:
        return {each.step: each.value for each in client.get_metric_history(record.run_id, metric)}
    except MlflowException as error:
        logger.debug("the trial's run cannot be read yet: %s", error)
        return {}


def _key_metric(bundle: Path) -> str:
    """The metric that chooses the checkpoint; the evaluator calls it so in the store."""
    config = ConfigParser.load_config_file(str(bundle / "configs" / "train.yaml"))
    return str(next(iter(config["validate"]["key_metric"])))


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)  # the run is recorded as KILLED
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ended(search: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return search.get_trials(states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED))


def _write(search: optuna.Study, study: Study, parent: RunWriter) -> None:
    rows = search.get_trials()
    with (study.out / "trials.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["trial", "state", "value", "epochs", *study.ranges])
        for each in rows:
            value = "" if each.value is None else f"{each.value:.6g}"
            knobs = [each.params.get(knob, "") for knob in study.ranges]
            table.writerow([each.number, each.state.name, value, len(each.intermediate_values), *knobs])
    if not any(each.state == optuna.trial.TrialState.COMPLETE for each in rows):
        return
    best = {"trial": search.best_trial.number, "value": search.best_value, "knobs": search.best_params}
    best["command"] = best_command(search, study)
    (study.out / "best.json").write_text(json.dumps(best, indent=2) + "\n", encoding="utf-8")
    parent.metrics({"best_value": search.best_value, "best_trial": float(search.best_trial.number)}, step=len(rows))
    parent.file(study.out / "trials.csv", "tuning")
    parent.file(study.out / "best.json", "tuning")
