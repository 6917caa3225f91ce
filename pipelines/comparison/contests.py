"""Who beats whom: paired tests between the rows of a ranking, on the same cases, corrected for their number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.comparison.cases import CaseTable, ItemTable
from pipelines.comparison.ranking import PREFIX, Ranking, Row, higher_is_better
from pipelines.comparison.statistics import PatientResamples, delong, holm, signed_rank
from pipelines.evaluation import mcnemar
from pipelines.evaluation.classification import area_under_curve

LEVEL = 0.05
Drawn = Mapping[str, NDArray[np.float64]]

BOOTSTRAP = "paired bootstrap"


@dataclass
class Pair:
    """One row against another.

    Attributes:
        difference, low, high: first minus second in the metric, and its 95 % bootstrap interval over patients.
        bootstrap_p: two-sided, of the same bootstrap.
        p_value: of the contest's test; ``corrected`` by Holm over all pairs of the contest.
        n, n_patients: cases (slices, pictures) in which the metric is defined for both, and their patients.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    bootstrap_p: float
    p_value: float
    n: int
    n_patients: int
    corrected: float = math.nan

    def winner(self, higher_is_better: bool) -> int | None:
        """The row that is better beyond chance: both the corrected test and the interval say so; else None."""
        if not (self.corrected < LEVEL and (self.low > 0 or self.high < 0)):
            return None
        return self.first if (self.difference > 0) == higher_is_better else self.second


@dataclass
class Contest:
    """One test between all pairs of rows.

    Attributes:
        metric: what differs. test: the name of the test whose p values are corrected.
        rows: places in the ranking of those that could be tested.
        excluded: label and reason of those that could not.
        n, n_patients: cases (slices, pictures) and patients.
        notes: what a reader must know of it.
    """

    metric: str
    test: str
    rows: list[int]
    pairs: list[Pair]
    excluded: list[tuple[str, str]]
    n: int
    n_patients: int
    unit: str = "cases"
    notes: list[str] = field(default_factory=list)

    def result(self, row: int, column: int) -> tuple[Pair, float] | None:
        """The pair of two places, and the sign that its difference has read from ``row``."""
        for pair in self.pairs:
            if {pair.first, pair.second} == {row, column}:
                return pair, 1.0 if pair.first == row else -1.0
        return None

    def winner(self, pair: Pair) -> int | None:
        return pair.winner(higher_is_better(self.metric))


def segmentation_contest(
    ranking: Ranking, tables: Mapping[int, Sequence[CaseTable | None]], best: int
) -> tuple[Contest | None, dict[int, NDArray[np.float64]]]:
    """Paired bootstrap and Wilcoxon's test of the ranking's metric, of the means over seeds of each case.

    Args:
        ranking: of a segmentation.
        tables: for each place in the ranking, the table of each run.
        best: how many rows take part.

    Returns:
        The contest (None with fewer than two rows that can be tested), and the values a case of each of its rows.
        Intervals of rows with several seeds are written into the rows.
    """
    cases, patients, values, excluded = _same_cases(ranking, tables, best)
    if not values:
        return None, {}
    resamples = PatientResamples(patients)
    drawn = {place: resamples.mean(each) for place, each in values.items()}
    for place, each in drawn.items():
        ranking.rows[place].intervals.setdefault(ranking.metric, resamples.interval(each))
    if len(values) < 2:
        return None, values
    pairs = []
    for first, second in itertools.combinations(values, 2):
        apart = values[first] - values[second]
        of_pair = resamples.mean(apart)
        defined = apart[np.isfinite(apart)]
        pairs.append(
            Pair(
                first,
                second,
                float(defined.mean()) if defined.size else math.nan,
                *resamples.interval(of_pair),
                resamples.p_value(of_pair),
                signed_rank(values[first], values[second], patients),
                int(defined.size),
                len({patient for patient, value in zip(patients, apart, strict=True) if np.isfinite(value)}),
            )
        )
    contest = Contest(
        ranking.metric, "Wilcoxon's signed-rank test", list(values), pairs, excluded, len(cases), resamples.n_patients
    )
    return _finished(contest, patients), values


def classification_contests(
    ranking: Ranking, tables: Mapping[int, Sequence[ItemTable | None]], best: int
) -> tuple[list[Contest], dict[int, ItemTable]]:
    """DeLong's test of the area under the ROC curve (two classes; with more, a paired bootstrap of their mean area),
    McNemar's of accuracy, and where the ranking is by balanced accuracy a paired bootstrap of that.

    A row of several seeds is represented by the run of its lowest seed.

    Returns:
        The contests, and the items of each row that took part. Intervals of rows with several seeds are written into
        the rows: of the mean over seeds.
    """
    chosen, excluded = _same_items(ranking, tables, best)
    if not chosen:
        return [], {}
    head = next(iter(chosen.values()))
    resamples = PatientResamples(head.patients)
    drawn = {place: _scores(table, resamples) for place, table in chosen.items()}
    for place in chosen:
        row = ranking.rows[place]
        usable = [table for table in tables[place] if table is not None and _alike(table, head)]
        if len(row.runs) > 1 and len(usable) == len(row.runs):
            scores = [drawn[place], *(_scores(table, resamples) for table in usable[1:])]
            for name in scores[0]:
                row.intervals[name] = resamples.interval(np.mean([each[name] for each in scores], axis=0))
    if len(chosen) < 2:
        return [], chosen
    two = len(head.names) == 2
    wanted: list[tuple[str, str, Callable[[ItemTable, ItemTable], float] | None]] = [
        ("auc", "DeLong's test" if two else BOOTSTRAP, _delong_p if two else None),
        ("accuracy", "McNemar's exact test", _mcnemar_p),
    ]
    if ranking.metric == "balanced_accuracy":
        wanted.insert(0, ("balanced_accuracy", BOOTSTRAP, None))
    elif ranking.metric == "accuracy":
        wanted.reverse()
    unit = "slices" if len(set(head.cases)) < len(head.cases) else "cases"
    contests = []
    for metric, test, p_value in wanted:
        pairs = [
            _pair(first, second, drawn, metric, resamples, chosen, p_value)
            for first, second in itertools.combinations(chosen, 2)
        ]
        contest = Contest(metric, test, list(chosen), pairs, excluded, len(head.items), resamples.n_patients, unit)
        if any(len(ranking.rows[place].runs) > 1 for place in chosen):
            contest.notes.append("Of a row with several seeds the run of the lowest seed is tested, not their mean.")
        contests.append(_finished(contest, head.patients))
    return contests, chosen


def _pair(
    first: int,
    second: int,
    drawn: Mapping[int, Drawn],
    metric: str,
    resamples: PatientResamples,
    tables: Mapping[int, ItemTable],
    p_value: Callable[[ItemTable, ItemTable], float] | None,
) -> Pair:
    of_pair = drawn[first][metric] - drawn[second][metric]
    bootstrap_p = resamples.p_value(of_pair)
    return Pair(
        first,
        second,
        _score(tables[first], metric) - _score(tables[second], metric),
        *resamples.interval(of_pair),
        bootstrap_p,
        bootstrap_p if p_value is None else p_value(tables[first], tables[second]),
        len(tables[first].items),
        resamples.n_patients,
    )


def _delong_p(first: ItemTable, second: ItemTable) -> float:
    return delong(first.probabilities[:, 1], second.probabilities[:, 1], first.labels == 1).p_value


def _mcnemar_p(first: ItemTable, second: ItemTable) -> float:
    return mcnemar(first.right, second.right).p_value


def _score(table: ItemTable, metric: str) -> float:
    if metric == "accuracy":
        return float(table.right.mean())
    if metric == "balanced_accuracy":
        recalls = [table.right[table.labels == k].mean() for k in np.unique(table.labels)]
        return float(np.mean(recalls))
    areas = [area_under_curve(table.probabilities[:, k], table.labels == k) for k in range(len(table.names))]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else math.nan


def _scores(table: ItemTable, resamples: PatientResamples) -> Drawn:
    """Scores in each sample, by the names of the test metrics."""
    right, labels = table.right.astype(float), table.labels
    there = range(len(table.names))
    recalls = [resamples.mean(np.where(labels == k, right, np.nan)) for k in there if (labels == k).any()]
    binary = len(table.names) == 2
    classes = [1] if binary else [k for k in there if 0 < (labels == k).sum() < len(labels)]
    areas = [resamples.area(table.probabilities[:, k], labels == k) for k in classes]
    scores = {
        "accuracy": resamples.mean(right),
        "balanced_accuracy": np.mean(recalls, axis=0),
        "auc": np.mean(areas, axis=0) if areas else np.full(len(recalls[0]), np.nan),
    }
    if binary and len(recalls) == 2:
        scores |= {"specificity": recalls[0], "sensitivity": recalls[1]}
    return scores


def _finished(contest: Contest, patients: Sequence[str]) -> Contest:
    """Holm's correction, and what else is to be said."""
    for pair, corrected in zip(contest.pairs, holm([pair.p_value for pair in contest.pairs]), strict=True):
        pair.corrected = corrected
    number = contest.n_patients
    if any(pair.n < contest.n for pair in contest.pairs):
        contest.notes.append(
            f"{contest.metric} is undefined for some rows in some cases. A pair is compared on the cases in which both "
            "have it, so its difference need not be that of the means in the table above."
        )
    most = max((pair.n_patients for pair in contest.pairs), default=0)
    if "Wilcoxon" in contest.test and 2.0 ** (1 - most) * len(contest.pairs) >= LEVEL:
        contest.notes.append(
            f"With {most} patients in whom a pair has {contest.metric}, and {len(contest.pairs)} pairs, no p value can "
            f"fall below {LEVEL:g}, whatever the networks do: no winner here means that the test set is too small, and "
            "not that they are equal."
        )
    if number < len(patients) and "bootstrap" not in contest.test and "Wilcoxon" not in contest.test:
        contest.notes.append(
            f"The {len(patients)} {contest.unit} come from {number} patients, and the test takes them as independent, "
            "so its p values are too small. The interval draws patients; a winner needs both."
        )
    return contest


def _same_cases(
    ranking: Ranking, tables: Mapping[int, Sequence[CaseTable | None]], best: int
) -> tuple[tuple[str, ...], tuple[str, ...], dict[int, NDArray[np.float64]], list[tuple[str, str]]]:
    """Mean over seeds a case of each row, in one order of cases; and who has none, and why."""
    cases: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    values: dict[int, NDArray[np.float64]] = {}
    excluded = []
    for place, row in enumerate(ranking.rows[:best]):
        found = [t for t in tables.get(place, ()) if t is not None and ranking.metric in t.values]
        reason = _missing(row, ranking, len(found))
        if not reason:
            cases = cases or tuple(sorted(found[0].cases))
            each = [_in_order(table, ranking.metric, cases) for table in found]
            if any(one is None for one in each):
                reason = "its table has other cases"
        if reason:
            excluded.append((row.label, reason))
            continue
        if not patients:
            by_case = dict(zip(found[0].cases, found[0].patients, strict=True))
            patients = tuple(by_case[case] for case in cases)
        with np.errstate(invalid="ignore"):
            values[place] = np.mean([one for one in each if one is not None], axis=0)
    return cases, patients, values, excluded


def _in_order(table: CaseTable, metric: str, cases: Sequence[str]) -> NDArray[np.float64] | None:
    if len(set(table.cases)) != len(table.cases) or set(table.cases) != set(cases):
        return None
    by_case = dict(zip(table.cases, table.values[metric], strict=True))
    return np.array([by_case[case] for case in cases])


def _same_items(
    ranking: Ranking, tables: Mapping[int, Sequence[ItemTable | None]], best: int
) -> tuple[dict[int, ItemTable], list[tuple[str, str]]]:
    """The table of each row's first run, where it has the items of the first row's."""
    chosen: dict[int, ItemTable] = {}
    excluded = []
    for place, row in enumerate(ranking.rows[:best]):
        table = next(iter(tables.get(place, ())), None)
        reason = "" if table is not None else "its table of slices or pictures is not kept with the run, or is gone"
        if table is not None and chosen and not _alike(table, next(iter(chosen.values()))):
            reason = "it was measured on other slices or pictures, or with other classes"
        if reason or table is None:
            excluded.append((row.label, reason))
        else:
            chosen[place] = table
    return chosen, excluded


def _alike(table: ItemTable, other: ItemTable) -> bool:
    return (table.items, table.names) == (other.items, other.names) and bool((table.labels == other.labels).all())


def _missing(row: Row, ranking: Ranking, found: int) -> str:
    if not row.values(ranking.metric):
        return f"it has no {PREFIX}{ranking.metric}"
    if found < len(row.runs):
        return "its table of cases is not kept with the run, or is gone, or lacks the metric"
    return ""
