"""Splits by patient, spread evenly over the lesion share (and over strata, where there are any), from a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import DatalistError, UsageError

SECTIONS = ("training", "validation", "test")
RULE = (
    "by patient; patients ordered by tercile of their mean lesion share and at random within it, then picked at equal "
    "steps; an official test set stays the test set"
)
STRATIFIED_RULE = f"within each diagnosis: {RULE}"
_ATTEMPTS = 100  # drawings until each part has a lesion; more would only delay the message
SMALL_VALIDATION = {"picture": 20, "volume": 3}

Split = dict[str, list[str]]
Standing = tuple[str, float]  # of a patient: stratum and mean lesion share


@dataclass(frozen=True)
class SplitCase:
    """What a split needs to know of a case: `share` is lesion over lung voxels, or over the picture (0..1); the cases
    of one `stratum` (a diagnosis) are spread over the splits as evenly as their number allows."""

    case: str
    patient: str
    share: float
    official_test: bool = False
    stratum: str = ""


def split_cases(cases: Sequence[SplitCase], *, validation: float = 0.2, test: float = 0.2, seed: int = 0) -> Split:
    """Case names for training, validation and test.

    Args:
        validation, test: parts of the patients, each in (0, 1) and together below 1. With an official test set,
            `test` is not used.
        seed: of the drawing.

    Raises:
        UsageError: parts that cannot be.
        DatalistError: a patient in the official test set and outside it, too few patients, or a part that must stay
            without lesions.
    """
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise UsageError(
            "the parts for validation and test must lie above 0 and together below 1", where=f"{validation:g}, {test:g}"
        )
    fixed = _official(cases)
    standings = _standings([c for c in cases if c.patient not in fixed])
    needed = 2 if fixed else 3
    if len(standings) < needed:
        raise DatalistError(
            f"{len(standings)} patients cannot fill {needed} splits",
            how="give more cases; a split never divides a patient",
        )

    def draw(rng: np.random.Generator) -> list[set[str]]:
        order = _ordered(standings, rng)
        held = fixed or set(_spaced(order, _count(test, len(order), len(order) - 2)))
        rest = [p for p in order if p not in held]
        part = validation if fixed else validation / (1 - test)
        chosen = set(_spaced(rest, _count(part, len(rest), len(rest) - 1)))
        return [set(rest) - chosen, chosen, held]

    return _named(cases, _with_lesions(cases, draw, seed))


def fold_cases(cases: Sequence[SplitCase], folds: int, *, validation: float = 0.2, seed: int = 0) -> list[Split]:
    """One split a fold for cross-validation: the fold is the test part, the rest is divided into training and
    validation.

    Cases of an official test set take no part.

    Raises:
        UsageError: fewer than two folds. DatalistError: as `split_cases`.
    """
    if folds < 2:
        raise UsageError("cross-validation needs at least two folds", where=str(folds))
    open_cases = [c for c in cases if c.patient not in _official(cases)]
    standings = _standings(open_cases)
    if len(standings) < max(folds, 3):
        raise DatalistError(
            f"{len(standings)} patients cannot fill {folds} folds", how="ask for fewer folds, at least two"
        )

    def deal(rng: np.random.Generator) -> list[set[str]]:
        order = _ordered(standings, rng)
        return [set(order[k::folds]) for k in range(folds)]

    parts = _with_lesions(open_cases, deal, seed)
    splits = []
    for k, held in enumerate(parts):
        others = {p: s for p, s in standings.items() if p not in held}

        def divide(
            rng: np.random.Generator, others: dict[str, Standing] = others, held: set[str] = held
        ) -> list[set[str]]:
            order = _ordered(others, rng)
            chosen = set(_spaced(order, _count(validation, len(order), len(order) - 1)))
            return [set(order) - chosen, chosen, held]

        splits.append(_named(open_cases, _with_lesions(open_cases, divide, seed + k)))
    return splits


def split_warnings(split: Split, cases: Sequence[SplitCase], kind: str) -> list[str]:
    """What is allowed and still weakens the figures: small validation sets, a single case with lesions. `kind`:
    picture or volume."""
    by_name = {c.case: c for c in cases}
    warnings = []
    if len(split["validation"]) < SMALL_VALIDATION[kind]:
        warnings.append(
            f"The validation set holds {len(split['validation'])} {kind}s: its figures swing, and the best "
            "epoch is partly luck. Cross-validate (--folds)."
        )
    for section in SECTIONS:
        found = sum(by_name[name].share > 0 for name in split[section])
        if found == 1 and len(split[section]) > 1:
            warnings.append(f"Only one case of the {section} set has lesions.")
    return warnings


def _official(cases: Sequence[SplitCase]) -> set[str]:
    fixed = {c.patient for c in cases if c.official_test}
    both = sorted(fixed & {c.patient for c in cases if not c.official_test})
    if both:
        raise DatalistError(
            f"{len(both)} patients are in the official test set and outside it",
            where=both[0],
            how="leave them out of one",
        )
    return fixed


def _standings(cases: Sequence[SplitCase]) -> dict[str, Standing]:
    by_patient: dict[str, list[SplitCase]] = {}
    for c in cases:
        by_patient.setdefault(c.patient, []).append(c)
    return {
        patient: (_stratum(found), float(np.mean([c.share for c in found])))
        for patient, found in sorted(by_patient.items())
    }


def _stratum(cases: Sequence[SplitCase]) -> str:
    """The stratum that most cases of a patient are in, the first by name among equals."""
    number = Counter(c.stratum for c in cases)
    return min(number, key=lambda stratum: (-number[stratum], stratum))


def _ordered(standings: Mapping[str, Standing], rng: np.random.Generator) -> list[str]:
    """Stratum by stratum, tercile by tercile, at random within: equal steps along it take each one's due."""
    order: list[str] = []
    for stratum in sorted({name for name, _ in standings.values()}):
        ranked = sorted((p for p in standings if standings[p][0] == stratum), key=lambda p: (standings[p][1], p))
        for tercile in np.array_split(np.array(ranked, dtype=object), 3):
            order += [str(p) for p in rng.permutation(tercile)]
    return order


def _count(part: float, total: int, most: int) -> int:
    return min(max(round(part * total), 1), most)


def _spaced(order: Sequence[str], count: int) -> list[str]:
    return [order[int((i + 0.5) * len(order) / count)] for i in range(count)]


def _with_lesions(
    cases: Sequence[SplitCase], draw: Callable[[np.random.Generator], list[set[str]]], seed: int
) -> list[set[str]]:
    """The first drawing in which each part has a patient with lesions: without any, its lesion Dice means nothing."""
    ill = {c.patient for c in cases if c.share > 0}
    if not ill:
        raise DatalistError("no case has a lesion: the class is empty", how="add cases with lesions")
    rng = np.random.default_rng(seed)
    for _ in range(_ATTEMPTS):
        parts = draw(rng)
        if all(part & ill for part in parts):
            return parts
    raise DatalistError(
        f"{len(ill)} patients with lesions do not suffice for {len(parts)} parts",
        how="add cases with lesions, or ask for fewer folds",
    )


def _named(cases: Sequence[SplitCase], parts: list[set[str]]) -> Split:
    return {
        name: sorted(c.case for c in cases if c.patient in part) for name, part in zip(SECTIONS, parts, strict=True)
    }
