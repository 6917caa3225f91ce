"""What an audit found: each arm's scores, paired differences, and what the fault would have made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.comparison.cases import ItemTable, in_order_of
from pipelines.comparison.contests import Contest, Pair, repeated_contests
from pipelines.evaluation import Interval
from pipelines.evaluation.resampling import PatientResamples, Resampled
from pipelines.synthetic_audit.plan import Arm, Training
from pipelines.synthetic_audit.trainings import Measured

METRICS = ("balanced_accuracy", "accuracy", "auc")
NONE, CLASSICAL = Arm(0.0, False), Arm(0.0, True)


@dataclass(frozen=True)
class Row:
    """An arm of a network, its seeds together.

    Attributes:
        training: of the first seed; the others differ in nothing else.
        seconds: mean over seeds.
        estimates, by_seed: of each metric, on real test cases.
    """

    training: Training
    seconds: float
    estimates: Mapping[str, Interval]
    by_seed: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Effect:
    """What an arm has more than another, on the same real test cases.

    Attributes:
        pairs: of each metric.
        by_seed: of each metric, the difference with each seed.
    """

    network: str
    arm: Arm
    against: Arm
    pairs: Mapping[str, Pair]
    by_seed: Mapping[str, Sequence[float]]

    def outcome(self, metric: str) -> str:
        """ "better" or "worse" beyond chance (`Pair.winner`) and with every seed, "open", or "untested"."""
        pair, seeds = self.pairs[metric], self.by_seed[metric]
        if pair.too_few:
            return "untested"
        winner = pair.winner(True)
        if winner is None or not (all(each > 0 for each in seeds) or all(each < 0 for each in seeds)):
            return "open"
        return "better" if winner == pair.first else "worse"


@dataclass(frozen=True)
class Fault:
    """Accuracy with generated pictures among the test cases: wrong, and shown to say how wrong.

    Attributes:
        generated: how many were added.
        real: accuracy on the real test cases. alone: on the generated ones. mixed: on both together: the fault.
        inflation: mixed minus real, of the same networks.
        gain: mixed, minus the accuracy of no augmentation on real cases: what the fault would report as the gain.
        honest: real, minus the same.
    """

    network: str
    arm: Arm
    generated: int
    real: Interval
    alone: Interval
    mixed: Interval
    inflation: Interval
    gain: Interval
    honest: Interval


@dataclass(frozen=True)
class Results:
    """All of it; `metric` is the one that the answer is given in."""

    metric: str
    rows: Sequence[Row]
    effects: Sequence[Effect]
    faults: Sequence[Fault]
    contests: Sequence[Contest]

    def effect(self, network: str, arm: Arm, against: Arm) -> Effect:
        """The one between two arms."""
        return next(e for e in self.effects if (e.network, e.arm, e.against) == (network, arm, against))


def work_out(measured: Sequence[Measured], metric: str) -> Results:
    """Scores, paired tests and the fault of an audit's trainings.

    The pairs are decided on beforehand: each share of generated pictures against no augmentation and against classical
    augmentation, and these two against each other; Holm's correction is over all of them, of all networks, for each
    metric.

    Args:
        measured: each network, arm and seed once.
        metric: of ``METRICS``.
    """
    groups: dict[tuple[str, Arm], list[Measured]] = {}
    for each in sorted(measured, key=lambda one: one.training.seed):
        groups.setdefault((each.training.network, each.training.arm), []).append(each)
    keys = list(groups)
    pairs = [
        (place, keys.index((network, other)))
        for place, (network, arm) in enumerate(keys)
        for other in (NONE, CLASSICAL)
        if arm != other and arm != NONE
    ]
    found = repeated_contests(METRICS, [[each.items for each in groups[key]] for key in keys], pairs)
    rows = [
        Row(own[0].training, float(np.mean([each.seconds for each in own])), found.estimates[k], found.by_seed[k])
        for k, own in enumerate(groups.values())
    ]
    effects = []
    for number, (first, second) in enumerate(pairs):
        network, arm = keys[first]
        by_seed = {
            name: [a - b for a, b in zip(found.by_seed[first][name], found.by_seed[second][name], strict=True)]
            for name in METRICS
        }
        own = {contest.metric: contest.pairs[number] for contest in found.contests}
        effects.append(Effect(network, arm, keys[second][1], own, by_seed))
    faults = [
        _fault(network, arm, own, groups[network, NONE]) for (network, arm), own in groups.items() if arm.share > 0
    ]
    return Results(metric, rows, effects, faults, found.contests)


def _fault(network: str, arm: Arm, own: Sequence[Measured], without: Sequence[Measured]) -> Fault:
    """Of one arm, accuracy as the mean over seeds. A generated picture is drawn as a patient of its own."""
    head = own[0].items
    taken = _taken(own[0].generated, head, arm.share)
    patients = [*head.patients, *(f"generated {own[0].generated.items[k]}" for k in taken)]
    resamples = PatientResamples(patients)
    is_real = np.arange(len(patients)) < len(head.items)
    first = own[0].generated

    def right(each: Measured) -> NDArray[np.float64]:
        items, generated = in_order_of(each.items, head), in_order_of(each.generated, first)
        assert items is not None
        assert generated is not None
        return np.concatenate([items.right, generated.right[taken]]).astype(np.float64)

    def mean(values: Sequence[NDArray[np.float64]]) -> Resampled:
        return Resampled.mean([resamples.mean(each) for each in values])

    answers, plain = [right(each) for each in own], [right(each) for each in without]
    real, alone, mixed = (
        mean([np.where(kept, each, np.nan) for each in answers]) for kept in (is_real, ~is_real, is_real | True)
    )
    baseline = mean([np.where(is_real, each, np.nan) for each in plain])

    def shown(sampled: Resampled, number: int, difference: bool = False) -> Interval:
        limits = (-1.0, 1.0) if difference else (0.0, 1.0)
        ends = resamples.interval(sampled, limits, difference=difference)
        return Interval(sampled.estimate, *ends, number, resamples.n_patients)

    n, every = len(head.items), len(patients)
    return Fault(
        network,
        arm,
        len(taken),
        shown(real, n),
        shown(alone, len(taken)),
        shown(mixed, every),
        shown(mixed - real, every, difference=True),
        shown(mixed - baseline, every, difference=True),
        shown(real - baseline, n, difference=True),
    )


def _taken(generated: ItemTable, items: ItemTable, share: float) -> NDArray[np.intp]:
    """Places of the generated pictures that join the test cases: of each class this share of its real ones."""
    places = [
        np.flatnonzero(generated.labels == k)[: round(share * int((items.labels == k).sum()))]
        for k in range(len(items.names))
    ]
    return np.concatenate(places)
