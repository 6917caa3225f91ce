"""Who beats whom: paired tests between the rows of a ranking, on the same cases, corrected for their number.

A winner needs the test that is named, the bootstrap over patients, and patients enough: DeLong's and McNemar's tests
take slices of one patient as independent, and with no more than the bootstrap's interval beside them they named a
winner among equals in 28 of 100 simulations with two patients (docs/reference/metrics.md has the table).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.comparison.cases import CaseTable, ItemTable, in_order_of
from pipelines.comparison.pairing import same_cases, same_items
from pipelines.comparison.ranking import Ranking
from pipelines.comparison.statistics import delong, holm, signed_rank
from pipelines.evaluation import Interval, bootstrap_interval, mcnemar
from pipelines.evaluation.metric_names import bounds, has_order, higher_is_better
from pipelines.evaluation.resampling import PatientResamples, Resampled

LEVEL = 0.05
FEWEST_PATIENTS = 6  # with five, no test that takes a patient once falls below 0.05: two-sided it is 2 / 2 ** 5
Scores = Mapping[str, Resampled]

BOOTSTRAP = "paired bootstrap"


@dataclass
class Pair:
    """One row against another.

    Attributes:
        difference, low, high: first minus second in the metric, and its 95 % bootstrap interval over patients.
        bootstrap_p: two-sided, of the same bootstrap.
        p_value: of the contest's test.
        n, n_patients: cases (slices, pictures) in which the metric is defined for both, and the patients who decide:
            theirs, or of an area or a balanced accuracy those of the class that the fewest have.
        corrected: the larger of the two p values, by Holm over all pairs of the contest.
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

    def __post_init__(self) -> None:
        if self.too_few:  # neither an interval nor a p value of so few can be stood by
            self.low = self.high = self.bootstrap_p = self.p_value = math.nan

    @property
    def too_few(self) -> bool:
        """Whether fewer than ``FEWEST_PATIENTS`` patients decide, so that nothing is said of who is better."""
        return self.n_patients < FEWEST_PATIENTS

    def winner(self, higher_is_better: bool) -> int | None:
        """The row that is better beyond chance: test, bootstrap and interval all say so; else None."""
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
        """The better row of a pair; None where no difference is shown, or the metric has no better and worse."""
        return pair.winner(higher_is_better(self.metric)) if has_order(self.metric) else None

    def outcomes(self, row: int) -> dict[str, list[int]]:
        """The other rows by how they stand to one: it "beats" them, they are "better", "open" (no difference is shown),
        or there is no test ("untested")."""
        found: dict[str, list[int]] = {"beats": [], "better": [], "open": [], "untested": []}
        for place in self.rows:
            pair = None if place == row else self.result(row, place)
            if pair is None:
                continue
            winner = self.winner(pair[0])
            untested = math.isnan(pair[0].corrected)
            how = "untested" if untested else "open" if winner is None else "beats" if winner == row else "better"
            found[how].append(place)
        return found


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
    cases, patients, values, excluded = same_cases(ranking, tables, best)
    if not values:
        return None, {}
    resamples = PatientResamples(patients)
    for place, each in values.items():
        found = bootstrap_interval(each, patients, bounds=bounds(ranking.metric))
        ranking.rows[place].intervals.setdefault(ranking.metric, (found.low, found.high))
    if len(values) < 2:
        return None, values
    pairs = [
        _case_pair(first, second, values, patients, resamples) for first, second in itertools.combinations(values, 2)
    ]
    contest = Contest(
        ranking.metric, "Wilcoxon's signed-rank test", list(values), pairs, excluded, len(cases), resamples.n_patients
    )
    return _finished(contest, patients), values


def _case_pair(
    first: int,
    second: int,
    values: Mapping[int, NDArray[np.float64]],
    patients: Sequence[str],
    resamples: PatientResamples,
) -> Pair:
    apart = values[first] - values[second]
    there = np.isfinite(apart)
    owners = [patient for patient, defined in zip(patients, there, strict=True) if defined]
    if 0 < len(owners) < len(patients):  # who has no value in both is nobody to draw from
        resamples, apart = PatientResamples(owners), apart[there]
    of_pair = resamples.mean(apart)
    return Pair(
        first,
        second,
        of_pair.estimate,
        *resamples.interval(of_pair, difference=True),
        resamples.p_value(of_pair),
        signed_rank(values[first], values[second], patients),
        len(owners),
        len(set(owners)),
    )


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
    chosen, excluded = same_items(ranking, tables, best)
    if not chosen:
        return [], {}
    head = next(iter(chosen.values()))
    resamples = PatientResamples(head.patients)
    drawn = {place: _scores(table, resamples) for place, table in chosen.items()}
    for place in chosen:
        row = ranking.rows[place]
        same = [None if table is None else in_order_of(table, head) for table in tables[place]]
        usable = [table for table in same if table is not None]
        if len(row.runs) > 1 and len(usable) == len(row.runs):
            scores = [drawn[place], *(_scores(table, resamples) for table in usable[1:])]
            for name in scores[0]:
                mean = Resampled.mean([each[name] for each in scores])
                row.intervals[name] = resamples.interval(mean, bounds(name))
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


@dataclass(frozen=True)
class Repeated:
    """Classifications, each trained with several seeds and measured on the same items.

    Attributes:
        contests: one a metric.
        estimates: for each row, each metric's mean over seeds, with its interval over patients.
        by_seed: for each row, each metric of each seed.
    """

    contests: list[Contest]
    estimates: list[dict[str, Interval]]
    by_seed: list[dict[str, list[float]]]


def repeated_contests(
    metrics: Sequence[str], rows: Sequence[Sequence[ItemTable]], pairs: Sequence[tuple[int, int]]
) -> Repeated:
    """Paired tests of the means over seeds, between the pairs of rows that were decided on beforehand.

    Of accuracy it is Wilcoxon's signed-rank test on patients, of an area or a balanced accuracy the paired bootstrap.
    Neither knows that another seed would have given another network: how far seeds lie apart is ``by_seed``.

    Args:
        metrics: of "accuracy", "balanced_accuracy", "auc" (and "sensitivity", "specificity" of two classes).
        rows: of each, the items of each seed. pairs: places in it.

    Raises:
        ValueError: items differ, or a metric is unknown.
    """
    head = rows[0][0]
    ordered = [[in_order_of(table, head) for table in row] for row in rows]
    tables = [[table for table in row if table is not None] for row in ordered]
    if any(len(found) < len(row) for found, row in zip(tables, rows, strict=True)):
        raise ValueError("the rows were measured on different items")
    resamples = PatientResamples(head.patients)
    scores = [[_scores(table, resamples) for table in row] for row in tables]
    if set(metrics) - scores[0][0].keys():
        raise ValueError(f"metrics are {', '.join(scores[0][0])}, got {', '.join(metrics)}")
    means = {
        place: {name: Resampled.mean([each[name] for each in row]) for name in metrics}
        for place, row in enumerate(scores)
    }
    right = [np.mean([table.right for table in row], axis=0) for row in tables]
    contests = []
    for metric in metrics:
        tested = metric == "accuracy"
        found = []
        for first, second in pairs:
            p_value = signed_rank(right[first], right[second], head.patients) if tested else None
            both = {first: tables[first][0], second: tables[second][0]}
            found.append(
                _pair(
                    first, second, means, metric, resamples, both, None if p_value is None else lambda *_, p=p_value: p
                )
            )
        name = "Wilcoxon's signed-rank test" if tested else BOOTSTRAP
        contest = Contest(metric, name, list(range(len(rows))), found, [], len(head.items), resamples.n_patients)
        contests.append(_finished(contest, head.patients))
    counts = len(head.items), resamples.n_patients
    estimates = [
        {name: Interval(each.estimate, *resamples.interval(each, bounds(name)), *counts) for name, each in row.items()}
        for row in means.values()
    ]
    by_seed = [{name: [each[name].estimate for each in row] for name in metrics} for row in scores]
    return Repeated(contests, estimates, by_seed)


def _pair(
    first: int,
    second: int,
    drawn: Mapping[int, Scores],
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
        of_pair.estimate,
        *resamples.interval(of_pair, difference=True),
        bootstrap_p,
        bootstrap_p if p_value is None else p_value(tables[first], tables[second]),
        len(tables[first].items),
        resamples.n_patients if metric == "accuracy" else _rarest(tables[first]),
    )


def _rarest(table: ItemTable) -> int:
    """How many patients have the class that the fewest have: they decide a sensitivity, and an area under a curve."""
    owners = np.asarray(table.patients)
    return min(len(set(owners[table.labels == k])) for k in np.unique(table.labels))


def _delong_p(first: ItemTable, second: ItemTable) -> float:
    return delong(first.probabilities[:, 1], second.probabilities[:, 1], first.labels == 1).p_value


def _mcnemar_p(first: ItemTable, second: ItemTable) -> float:
    return mcnemar(first.right, second.right).p_value


def _scores(table: ItemTable, resamples: PatientResamples) -> Scores:
    """Scores, by the names of the test metrics."""
    right, labels = table.right.astype(float), table.labels
    there = range(len(table.names))
    recalls = [resamples.mean(np.where(labels == k, right, np.nan)) for k in there if (labels == k).any()]
    binary = len(table.names) == 2
    classes = [1] if binary else [k for k in there if 0 < (labels == k).sum() < len(labels)]
    areas = [resamples.area(table.probabilities[:, k], labels == k) for k in classes]
    scores = {
        "accuracy": resamples.mean(right),
        "balanced_accuracy": Resampled.mean(recalls),
        "auc": Resampled.mean(areas) if areas else recalls[0].undefined(),
    }
    if binary and len(recalls) == 2:
        scores |= {"specificity": recalls[0], "sensitivity": recalls[1]}
    return scores


def _finished(contest: Contest, patients: Sequence[str]) -> Contest:
    """Holm's correction of the larger of each pair's two p values, and what else is to be said."""
    larger = [float(np.maximum(pair.p_value, pair.bootstrap_p)) for pair in contest.pairs]  # NaN where either is
    for pair, corrected in zip(contest.pairs, holm(larger), strict=True):
        pair.corrected = corrected
    number = contest.n_patients
    if any(pair.n < contest.n for pair in contest.pairs):
        contest.notes.append(
            f"{contest.metric} is undefined for some rows in some cases. A pair is compared on the cases in which both "
            "have it, so its difference need not be that of the means in the table above."
        )
    fewest = min(pair.n_patients for pair in contest.pairs)
    if fewest < FEWEST_PATIENTS:
        whose = "" if contest.test.startswith(("McNemar", "Wilcoxon")) else " of the rarest class"
        contest.notes.append(
            f"Too few patients: {fewest}{whose} decide in {_so_many(contest.pairs)}, and below {FEWEST_PATIENTS} no "
            "winner, no p value and no interval is given, since chance alone would make some. No winner means that the "
            "test set is too small, and not that the networks are equal."
        )
    most = max(pair.n_patients for pair in contest.pairs)
    tested = not all(pair.too_few for pair in contest.pairs)
    if "Wilcoxon" in contest.test and 2.0 ** (1 - most) * len(contest.pairs) >= LEVEL:
        contest.notes.append(
            f"With {most} patients in whom a pair has {contest.metric}, and {len(contest.pairs)} pairs, no p value can "
            f"fall below {LEVEL:g}, whatever the networks do: no winner here means that the test set is too small, and "
            "not that they are equal."
        )
    if tested and number < len(patients) and "bootstrap" not in contest.test and "Wilcoxon" not in contest.test:
        contest.notes.append(
            f"The {len(patients)} {contest.unit} come from {number} patients, and the test takes them as independent, "
            "so its p values are too small. Bootstrap and interval draw patients; a winner needs all three."
        )
    return contest


def _so_many(pairs: Sequence[Pair]) -> str:
    few = sum(pair.too_few for pair in pairs)
    return "every pair" if few == len(pairs) else f"{few} of {len(pairs)} pairs"
