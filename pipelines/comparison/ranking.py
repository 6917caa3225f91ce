"""Runs into rankings: what may be ranked together, several seeds as one row, and why a run is in no ranking."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.comparison.cases import evaluated_cases
from pipelines.comparison.runs import Run, Store
from pipelines.evaluation.metric_names import class_of, has_order, higher_is_better, task_of, usual_keys, usually_shown

PREFIX = "test_"
SHOWN = f"{PREFIX}shown_metrics"  # a tag of an evaluation: names joined by commas
# Not what was tried: where it ran, what it read, and what follows from these.
_NOT_A_CHOICE = {
    "network", "seed", "device", "workers", "cache_dir", "dataset_dir", "datalist", "resume", "parameters",
    "max_epochs", "epoch_length", "run_name",
}  # fmt: skip
_CONFIG = re.compile(r"([\w.-]+)\.ya?ml")


@dataclass(frozen=True)
class Scope:
    """What runs must share to be ranked together: all of it is of what was measured, whatever they were trained on."""

    task: str  # segmentation, classification or other
    data: str  # name of the data set
    fingerprint: str
    split: str  # the split's rule and seed, as the datalist has them
    counts: tuple[str, str, str]  # training, validation and test cases of that datalist
    cases: str  # digest of the cases measured; where that is not known, the folder and list that were read
    phantom: bool = False
    label_rule: str = ""  # how the truth was made of the data, such as thresholds
    truth: str = ""  # digest of the true classes and extents


@dataclass
class Row:
    """One network as it was trained: its runs differ in their seeds and nothing else that was recorded.

    Attributes:
        runs: lowest seed first; of trainings that share a seed only the latest, since they say nothing of seeds.
        repeats: the earlier trainings with a seed of ``runs``, which count for nothing.
        overlays: the config files it was trained with.
        label: unlike that of any other row of its ranking.
        intervals: 95 % intervals of the mean over seeds, by metric without prefix, where they were computed.
        notes: what a reader must know of it.
        counted: in how many cases each run has a metric, by metric, where the tables of cases told it.
    """

    runs: list[Run]
    overlays: str = ""
    label: str = ""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repeats: list[Run] = field(default_factory=list)
    counted: dict[str, list[int]] = field(default_factory=dict)

    @property
    def first(self) -> Run:
        """The run that stands for all where one must: of the lowest seed, which nobody chose by its score."""
        return self.runs[0]

    @property
    def network(self) -> str:
        return self.first.network

    @property
    def seeds(self) -> list[str]:
        return [run.params.get("seed", "?") for run in self.runs]

    def values(self, metric: str) -> list[float]:
        """The metric of each run that has it."""
        found = [run.metrics.get(PREFIX + metric, math.nan) for run in self.runs]
        return [value for value in found if math.isfinite(value)]

    def mean(self, metric: str) -> float:
        """Mean over the runs that have it; NaN where none has."""
        values = self.values(metric)
        return statistics.fmean(values) if values else math.nan

    def spread(self, metric: str) -> float:
        """Standard deviation over runs; NaN below two."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else math.nan

    def numbers_of_cases(self, metric: str) -> list[int]:
        """How many cases (slices, pictures) the metric's mean is over: the different numbers of its runs, the least
        first; none where no run says."""
        recorded = [run.metrics.get(f"{PREFIX}{metric}_n", math.nan) for run in self.runs]
        known = [int(number) for number in recorded if math.isfinite(number)]
        return sorted(set(known or self.counted.get(metric, [])))

    def interval(self, metric: str) -> tuple[float, float]:
        """The 95 % interval: what the evaluation recorded, or with several seeds what was computed here, else NaN."""
        if len(self.runs) > 1:
            return self.intervals.get(metric, (math.nan, math.nan))
        low, high = (self.first.metrics.get(f"{PREFIX}{metric}_ci_{end}", math.nan) for end in ("low", "high"))
        return low, high

    @property
    def seconds(self) -> float:
        """Mean duration of the runs; NaN where none has one."""
        known = [run.seconds for run in self.runs if math.isfinite(run.seconds)]
        return statistics.fmean(known) if known else math.nan


@dataclass
class Ranking:
    """Rows that may be compared, the best first; those without the metric last."""

    scope: Scope
    metric: str  # without prefix
    rows: list[Row]

    @property
    def metrics(self) -> list[str]:
        """All test metrics of its runs, without prefix."""
        return sorted({name for row in self.rows for run in row.runs for name in tested(run)})

    @property
    def experiments(self) -> list[str]:
        return sorted({run.experiment for row in self.rows for run in row.runs})


def tested(run: Run) -> list[str]:
    """The run's test metrics that have a value, without prefix; no bounds of intervals and no numbers of cases."""
    named = {name.removeprefix(PREFIX): value for name, value in run.metrics.items() if name.startswith(PREFIX)}
    ends = ("_ci_low", "_ci_high", "_n")
    return [name for name, value in named.items() if math.isfinite(value) and not name.endswith(ends)]


def why_left_out(run: Run) -> str:
    """Why a run can be in no ranking; empty if it can."""
    if run.children and not tested(run):
        return f"holds {run.children} nested runs, which are looked at one by one"
    if not tested(run):
        return {
            "FINISHED": "was not evaluated on test cases (train.yaml with evaluate.yaml does that)",
            "FAILED": f"failed ({run.tags.get('error', 'no reason recorded')}), and was not evaluated",
            "KILLED": f"was ended early ({run.tags.get('exit_reason', 'no reason recorded')}), and was not evaluated",
            "RUNNING": "was left by a process that is gone, and was not evaluated"
            if run.vanished
            else "is still running, or cannot be seen from this machine; not evaluated",
        }.get(run.status, f"is {run.status}, and was not evaluated")
    if not measured(run).get("data_fingerprint"):
        return "was measured on data that it does not name: no training in this store made its weights"
    if _tested_on_its_training(run):
        return (
            "was measured on other test cases of the data that it was trained on than its training had: they may have "
            "been among its training cases"
        )
    return ""


def measured(run: Run) -> dict[str, str]:
    """What the run says of the data that it was measured on, as ``data_…``: what its evaluation recorded, or where it
    recorded nothing (earlier versions) what its training read."""
    tag = f"{PREFIX}data_"
    told = {f"data_{name.removeprefix(tag)}": value for name, value in run.tags.items() if name.startswith(tag)}
    return told or {name: value for name, value in run.params.items() if name.startswith("data_")}


def _tested_on_its_training(run: Run) -> bool:
    """Whether the measured test cases are others of the same data than those that training left alone."""
    trained, found = run.params, measured(run)
    if "evaluation_only" in run.tags or trained.get("data_fingerprint") != found.get("data_fingerprint"):
        return False
    digests = trained.get("data_test_digest", ""), found.get("data_test_digest", "")
    if all(digests):
        return digests[0] != digests[1]
    return any(trained.get(name) != found.get(name) for name in ("data_split", "data_test_cases"))


def rank(store: Store, runs: Sequence[Run], metrics: Sequence[str] = ()) -> list[Ranking]:
    """Rankings of all runs for which ``why_left_out`` has no reason, the one with the most rows first.

    Args:
        metrics: without prefix; a ranking is by the first of them that any of its runs has.
    """
    scopes: dict[Scope, list[Run]] = {}
    for run in runs:
        scopes.setdefault(_scope(store, run), []).append(run)
    rankings = []
    for scope, members in scopes.items():
        metric = _metric(members, metrics)
        rows = _rows(store, members)
        sign = -1 if higher_is_better(metric) else 1
        rows.sort(key=lambda row: _sort_key(sign * row.mean(metric), row))
        _label(rows)
        rankings.append(Ranking(scope, metric, rows))
    return sorted(rankings, key=lambda each: (-len(each.rows), each.scope.data, each.scope.task, each.scope.cases))


def shown_metrics(ranking: Ranking, asked: Sequence[str] = ()) -> list[str]:
    """The columns of the table: those asked for, else those that the latest evaluation names (its tag
    ``test_shown_metrics``), else the task's usual ones; the one that ranks comes first."""
    there = ranking.metrics
    runs = sorted((run for row in ranking.rows for run in row.runs), key=lambda run: run.started or 0)
    named = [run.tags[SHOWN].split(",") for run in runs if run.tags.get(SHOWN)]
    wanted = asked or (named[-1] if named else usually_shown(there, ranking.metric))
    return list(dict.fromkeys([ranking.metric, *(name for name in wanted if name in there)]))


def named_like(ranking: Ranking, word: str) -> list[str]:
    """The metrics that say a row's sensitivity (or specificity): the positive class's, else each class's."""
    there = ranking.metrics
    of_class = class_of(ranking.metric) if ranking.scope.task == "segmentation" else ""
    whole = [name for name in (word, f"{of_class}_{word}") if name in there]
    return whole[:1] or [name for name in there if name.endswith(f"_{word}")]


def _scope(store: Store, run: Run) -> Scope:
    params, found = run.params, measured(run)
    cases = run.tags.get("test_cases") or evaluated_cases(store, run)
    if not cases:  # neither a mark nor the table: only what was read from the same place is surely the same
        cases = f"{params.get('dataset_dir', '?')}/{params.get('datalist', '?')}"
    training, validation, test = (found.get(f"data_{name}_cases", "?") for name in ("training", "validation", "test"))
    return Scope(
        task_of(tested(run)),
        found.get("data_name", "?"),
        found["data_fingerprint"],
        found.get("data_split", ""),
        (training, validation, test),
        cases,
        found.get("data_phantom") == "True",
        run.tags.get("test_label_rule", ""),
        run.tags.get("test_truth", ""),
    )


def _metric(runs: Sequence[Run], asked: Sequence[str]) -> str:
    there = {name for run in runs for name in tested(run)}
    chosen_by = Counter(
        name.removeprefix("best_val_") for run in runs for name in run.metrics if name.startswith("best_val_")
    )
    candidates = [*asked, *(name for name, _ in chosen_by.most_common()), *usual_keys(there), *sorted(there)]
    candidates = [name for name in candidates if name in there]
    return next((name for name in candidates if has_order(name)), candidates[0])


def _sort_key(value: float, row: Row) -> tuple[bool, float, str]:
    return math.isnan(value), 0.0 if math.isnan(value) else value, row.network


def _rows(store: Store, runs: Sequence[Run]) -> list[Row]:
    found: dict[tuple[str, ...], Row] = {}
    for run in runs:
        overlays = _overlays(store, run)
        knobs = json.dumps(choices(run.params), sort_keys=True)
        key = (run.experiment, run.network, overlays, knobs, *trained_on(run))
        found.setdefault(key, Row([], overlays)).runs.append(run)
    for row in found.values():
        row.runs.sort(key=lambda run: (_number(run.params.get("seed", "")), -(run.started or 0)))
        _set_repeats_apart(row)
        if _trained_elsewhere(row.first):
            row.notes.append(
                "trained on other data than it was measured on; whether these hold its test cases is not known"
            )
    return list(found.values())


def _set_repeats_apart(row: Row) -> None:
    """Of trainings with one seed the latest counts, which nobody chose by its score."""
    latest: dict[str, Run] = {}
    for run in row.runs:
        kept = latest.setdefault(run.params.get("seed", "?"), run)
        if kept is not run:
            row.repeats.append(run)
    row.runs = list(latest.values())
    for seed in dict.fromkeys(run.params.get("seed", "?") for run in row.repeats):
        number = 1 + sum(run.params.get("seed", "?") == seed for run in row.repeats)
        which = "without a recorded seed" if seed == "?" else f"with seed {seed}"
        row.notes.append(f"trained {number} times {which}: the latest counts, and the others are no seeds of their own")


def trained_on(run: Run) -> tuple[str, ...]:
    """What tells one training's data from another's; all empty where it was not recorded."""
    names = ("data_fingerprint", "data_split", "data_training_cases", "data_validation_cases", "data_test_digest")
    return tuple(run.params.get(name, "") for name in names)


def _trained_elsewhere(run: Run) -> bool:
    """Whether a training in this store made the weights from other data than they were measured on."""
    own = run.params.get("data_fingerprint", "")
    return "evaluation_only" not in run.tags and own != measured(run).get("data_fingerprint", "")


def choices(params: Mapping[str, str]) -> dict[str, str]:
    """The knobs that make a training what it is."""
    return {k: v for k, v in params.items() if k not in _NOT_A_CHOICE and not k.startswith("data_")}


def _overlays(store: Store, run: Run) -> str:
    """The config files beyond ``train.yaml`` and the network's own, joined by "+"."""
    named = run.tags.get("config_files")
    if named is None:  # a run of an earlier version: its command has them
        path = store.file(run, "config/command.txt")
        named = path.read_text(encoding="utf-8", errors="replace") if path else ""
    names = dict.fromkeys(_CONFIG.findall(named))
    return "+".join(name for name in names if name not in ("train", "multi_gpu_train", run.network))


def _label(rows: Sequence[Row]) -> None:
    """Give each row a name of its own: the network, and what sets it apart from others of that network."""
    for row in rows:
        namesakes = [other for other in rows if other.network == row.network]
        parts = []
        if len({other.first.experiment for other in namesakes}) > 1:
            parts.append(row.first.experiment)
        if len({other.overlays for other in namesakes}) > 1:
            parts.append(row.overlays or "train")
        if len({trained_on(other.first) for other in namesakes}) > 1:
            data = row.first.params.get("data_fingerprint", "").rpartition(":")[2][:8]
            parts.append(f"trained on {row.first.params.get('data_name', '?')} {data}".rstrip())
        if len({(other.first.experiment, other.overlays, *trained_on(other.first)) for other in namesakes}) < len(
            namesakes
        ):
            mine = choices(row.first.params)
            others = [choices(other.first.params) for other in namesakes]
            differing = [name for name in mine if len({other.get(name) for other in others}) > 1]
            parts += [f"{name}={mine[name]}" for name in differing[:3]] + (["…"] if len(differing) > 3 else [])
        row.label = row.network if not parts else f"{row.network} ({', '.join(parts)})"
    for label, number in Counter(row.label for row in rows).items():
        if number > 1:
            same = [row for row in rows if row.label == label]
            for place, row in enumerate(same, start=1):
                row.label = f"{label} #{place}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf
