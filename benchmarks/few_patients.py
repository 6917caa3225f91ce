"""Simulations of few patients: how often one of two equal networks is called the better, and how often an interval
holds the truth. Prints the table of docs/reference/metrics.md.

    python benchmarks/few_patients.py

Each patient has 40 slices, half of them of either class in the mean and more or fewer in each patient; a network's
answers to one patient's slices share an error of their own, half as large again as that of a single slice. Of masks
each patient has one, and the Dice of the two networks differ by 0.04 from patient to patient.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from pipelines.comparison.cases import CaseTable, ItemTable
from pipelines.comparison.contests import FEWEST_PATIENTS, LEVEL, Contest, classification_contests, segmentation_contest
from pipelines.comparison.ranking import Ranking, Row, Scope
from pipelines.comparison.runs import Run
from pipelines.evaluation import bootstrap_interval, mcnemar
from pipelines.evaluation.resampling import PatientResamples

PATIENTS = (2, 3, 4, 5, 6, 8, 10, 15, 20)
SLICES = 40
OF_PATIENT = 1.5  # deviation of what a network gets wrong in all slices of a patient, that of a single slice being 1
_SCOPE = Scope("", "made", "sha256:00", "", ("1", "1", "1"), "made")


def classifiers(rng: np.random.Generator, patients: int) -> dict[int, list[ItemTable | None]]:
    """What two equal classifiers say of the same slices."""
    owners = np.repeat(np.arange(patients), SLICES)
    labels = (rng.random(len(owners)) < rng.beta(3, 3, patients)[owners]).astype(int)
    tables: dict[int, list[ItemTable | None]] = {}
    for place in range(2):
        logits = 2.0 * labels - 1 + rng.normal(0, OF_PATIENT, patients)[owners] + rng.normal(0, 1, len(owners))
        positive = 1 / (1 + np.exp(-logits))
        names, whose = tuple(str(k) for k in range(len(owners))), tuple(map(str, owners))
        said, both = (positive >= 0.5).astype(int), np.stack([1 - positive, positive], axis=1)
        tables[place] = [ItemTable(names, whose, whose, labels, said, both, ("normal", "ill"))]
    return tables


def segmentation(rng: np.random.Generator, patients: int) -> Contest:
    """The contest of two networks whose Dice is the same in the mean."""
    names = tuple(map(str, range(patients)))
    dice = rng.normal(0.8, 0.05, patients) + rng.normal(0, 0.03, (2, patients))
    tables = {place: [CaseTable(names, names, {"lesion_dice": dice[place]})] for place in range(2)}
    contest, _ = segmentation_contest(_ranking("lesion_dice"), tables, 2)
    assert contest is not None
    return contest


def by_slices(first: ItemTable, second: ItemTable) -> bool:
    """Whether one is called more accurate by McNemar's test, which takes slices as independent, and percentiles of the
    bootstrap over patients: the rule of earlier versions."""
    resamples = PatientResamples(first.patients)
    low, high = percentiles(resamples.mean(first.right.astype(float) - second.right).drawn, resamples.n_patients)
    return mcnemar(first.right, second.right).p_value < LEVEL and (low > 0 or high < 0)


def percentiles(drawn: NDArray[np.float64], patients: int) -> tuple[float, float]:
    """The interval by expanded percentiles alone (Hesterberg, The American Statistician 69:371, 2015)."""
    tail = 100 * float(norm.cdf(-np.sqrt(patients / (patients - 1)) * student.ppf(0.975, patients - 1)))
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def false_winners(patients: int, simulations: int, seed: int = 0) -> dict[str, float]:
    """The parts (0..1) of simulations in which a winner is named, by metric; ``by_slices``: by that rule."""
    rng = np.random.default_rng([seed, patients])
    found: dict[str, list[bool]] = {}
    for _ in range(simulations):
        tables = classifiers(rng, patients)
        first, second = (each[0] for each in tables.values())
        if first is None or second is None or len(set(first.labels)) < 2:
            continue
        found.setdefault("by_slices", []).append(by_slices(first, second))
        contests, _ = classification_contests(_ranking("auc"), tables, 2)
        for contest in (*contests, segmentation(rng, patients)):
            found.setdefault(contest.metric, []).append(contest.winner(contest.pairs[0]) is not None)
    return {metric: float(np.mean(values)) for metric, values in found.items()}


def coverage(patients: int, simulations: int, seed: int = 0) -> dict[str, float]:
    """The parts (0..1) of simulations in which a 95 % interval holds the truth.

    ``paired``: of a difference of two networks, one case a patient; ``percentiles``: the same by these alone;
    ``mean``: of a mean Dice, skewed (beta); ``rare``: of a difference of 0.01, and of 0.5 in one case of seven.
    """
    rng = np.random.default_rng([seed, patients, 1])
    held: dict[str, list[bool]] = {}

    def note(name: str, low: float, high: float, truth: float) -> None:
        held.setdefault(name, []).append(low <= truth <= high)

    for number in range(simulations):
        resamples = PatientResamples(range(patients), n_resamples=1000, seed=number)
        drawn = resamples.mean(rng.normal(0.02, 0.05, patients))
        note("paired", *resamples.interval(drawn, difference=True), 0.02)
        note("percentiles", *percentiles(drawn.drawn, patients), 0.02)
        missed = 0.5 * (rng.random(patients) < 1 / 7)
        rare = resamples.mean(rng.normal(0.01, 0.02, patients) + missed)
        note("rare", *resamples.interval(rare, difference=True), 0.01 + 0.5 / 7)
        found = bootstrap_interval(rng.beta(6, 2, patients), range(patients), n_resamples=400, seed=number)
        note("mean", found.low, found.high, 0.75)
    return {name: float(np.mean(values)) for name, values in held.items()}


def table(numbers: Iterable[int], simulations: int) -> list[str]:
    """The table, in Markdown."""
    lines = [
        "| patients | false winners in AUC | in accuracy | in Dice | in accuracy, slices as independent "
        "| interval of a difference holds | by percentiles alone | of a rare failure | interval of a mean holds |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for patients in numbers:
        won, held = false_winners(patients, simulations), coverage(patients, simulations)
        given = f"{held['paired']:.1%}" + (" (not given)" if patients < FEWEST_PATIENTS else "")
        cells = [f"{won[metric]:.1%}" for metric in ("auc", "accuracy", "lesion_dice", "by_slices")]
        cells += [given, *(f"{held[name]:.1%}" for name in ("percentiles", "rare", "mean"))]
        lines.append(f"| {patients} | {' | '.join(cells)} |")
    return lines


def _ranking(metric: str) -> Ranking:
    rows = [
        Row([Run(name, name, "made", "FINISHED", 0, 1, {f"test_{metric}": 0.5}, {}, {})], label=name)
        for name in ("one", "other")
    ]
    return Ranking(_SCOPE, metric, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--patients", type=int, nargs="+", default=PATIENTS)
    args = parser.parse_args(arguments)
    print("\n".join(table(args.patients, args.simulations)))


if __name__ == "__main__":
    main()
