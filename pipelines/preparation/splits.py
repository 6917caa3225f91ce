"""Splits by patient, spread evenly over the share of what is segmented, strata and classes, from a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product

import numpy as np

from pipelines.errors import DatalistError, UsageError
from pipelines.preparation.patient_names import Spellings
from pipelines.preparation.sections import SECTIONS

RULE = (
    "by patient; patients ordered by tercile of their mean share of what is segmented and at random within it, then "
    "picked at equal steps; an official test set stays the test set"
)
STRATIFIED_RULE = f"within each diagnosis: {RULE}"
CLASS_RULE = (
    "by patient; within each class, subtype by subtype, patients at random in thirds of their names, then picked at "
    "equal steps; official test and validation sets stay what they are"
)
LEFT_OUT_RULE = "the test part is all that `left_out` says, its patients are in no other part; the rest: "
_ATTEMPTS = 100  # drawings until each part has a lesion; more would only delay the message
SMALL_VALIDATION = {"picture": 20, "volume": 3}

Split = dict[str, list[str]]
Standing = tuple[str, float]  # of a patient: stratum and mean share of what is sought


@dataclass(frozen=True)
class SplitCase:
    """What a split needs to know of a case: `share` is lesion over lung voxels, or over the picture (0..1); the cases
    of one `stratum` (a diagnosis) are spread over the splits as evenly as their number allows. Those of one `group` (a
    class) are drawn by themselves, so that each part has some; without groups each part has a case with lesions."""

    case: str
    patient: str
    share: float
    official_test: bool = False
    stratum: str = ""
    group: str = ""
    official_validation: bool = False


@dataclass(frozen=True)
class _Official:
    """Patients of the sets that stay what they are."""

    test: set[str]
    validation: set[str]


def split_cases(
    cases: Sequence[SplitCase],
    *,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    sought: str = "anything labelled",
) -> Split:
    """Case names for training, validation and test.

    Names of patients that differ in case, spaces or Unicode form are one patient's. With another seed every patient may
    be tested.

    Args:
        validation, test: parts of the patients, each in (0, 1) and together below 1. With an official test set,
            `test` is not used, with an official validation set `validation`; where there is one of them only, the
            other's part is of the patients outside it.
        seed: of the drawing.
        sought: what a case with a `share` above 0 has, in messages.

    Raises:
        UsageError: parts that cannot be.
        DatalistError: a patient in an official set and outside it, too few patients, or a part that must stay without
            lesions, or without a group.
    """
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise UsageError(
            "the parts for validation and test must lie above 0 and together below 1", where=f"{validation:g}, {test:g}"
        )
    cases = _one_spelling(cases)
    official = _official(cases)
    for name, inside in (("test", official.test), ("validation", official.validation)):
        for group in sorted({c.group for c in cases}):
            if inside and group and not any(c.group == group and c.patient in inside for c in cases):
                raise DatalistError(
                    f"the official {name} set has no case of the class {group}", how="add some, or divide the set anew"
                )
    groups = _groups([c for c in cases if c.patient not in official.test | official.validation])
    needed = 3 - bool(official.test) - bool(official.validation)
    for group, standings in groups.items():
        if len(standings) < needed:
            raise DatalistError(
                f"{_patients(standings, group)} cannot fill {needed} splits",
                how="give more cases; a split never divides a patient",
            )

    def draw(rng: np.random.Generator) -> list[set[str]]:
        training, chosen, held = set(), set(official.validation), set(official.test)
        for standings in groups.values():
            parts = _ordered(standings, rng)
            if not official.test:
                number = len(standings)
                held |= set(_spaced(parts, _count(test, number, number - needed + 1), rng))
            rest = [[p for p in part if p not in held] for part in parts]
            if not official.validation:
                share = validation if official.test else validation / (1 - test)
                number = sum(map(len, rest))
                chosen |= set(_spaced(rest, _count(share, number, number - 1), rng))
            training |= set(chain(*rest)) - chosen
        return [training, chosen, held]

    return _named(cases, _complete(cases, draw, seed, sought))


def fold_cases(
    cases: Sequence[SplitCase], folds: int, *, validation: float = 0.2, seed: int = 0, sought: str = "anything labelled"
) -> list[Split]:
    """One split a fold for cross-validation: the fold is the test part, the rest is divided into training and
    validation.

    Cases of an official test set take no part; those of an official validation set are dealt out like all others.

    Raises:
        UsageError: fewer than two folds. DatalistError: as `split_cases`.
    """
    if folds < 2:
        raise UsageError("cross-validation needs at least two folds", where=str(folds))
    open_cases = _outside_the_test_set(cases)
    groups = _groups(open_cases)
    for group, standings in groups.items():
        if len(standings) < max(folds, 3):
            raise DatalistError(
                f"{_patients(standings, group)} cannot fill {folds} folds", how="ask for fewer folds, at least two"
            )

    def deal(rng: np.random.Generator) -> list[set[str]]:
        dealt: list[str] = []
        for standings in groups.values():
            dealt += chain(*_ordered(standings, rng))
        return [set(dealt[k::folds]) for k in range(folds)]

    parts = _complete(open_cases, deal, seed, sought)
    return [_rest_divided(open_cases, held, validation, seed + k, sought) for k, held in enumerate(parts)]


def check_folds(folds: int | str, words: Iterable[str]) -> None:
    """Refuse folds that no data can have.

    Args:
        folds: a number, 0 for none; or one of the words.
        words: that this dataset's entries have.

    Raises:
        UsageError: one fold, a negative number, or another word.
    """
    if isinstance(folds, str):
        if folds not in words:
            has = f"give a number, or one of {', '.join(words)}" if words else "give a number"
            raise UsageError("cases of this dataset say no such word to make folds by", where=folds, how=has)
    elif folds == 1 or folds < 0:
        raise UsageError("cross-validation needs at least two folds", where=str(folds))


def leave_one_out(
    cases: Sequence[SplitCase],
    word: str,
    words: Mapping[str, str | None],
    *,
    validation: float = 0.2,
    seed: int = 0,
    sought: str = "anything labelled",
) -> list[Split]:
    """One split for each word: the cases that have it are the test part, the rest is divided into training and
    validation. Of `source` this is leave-one-source-out, which says how a network does elsewhere.

    Cases of an official test set take no part, as in `fold_cases`. Of a patient who has cases of two words, those of
    the other one are in no part of the fold.

    Args:
        word: what the words are of, for messages.
        words: of each case, by its name; in their order by name they are the folds.

    Raises:
        DatalistError: a case without a word, one word alone, a word without lesions or without a class, too
            few patients beside it; and as `split_cases`.
    """
    open_cases = _outside_the_test_set(cases)
    nameless = sorted(c.case for c in open_cases if not words[c.case])
    if nameless:
        raise DatalistError(f"{len(nameless)} cases say no {word}", where=nameless[0], how="give --folds a number")
    parts: dict[str, set[str]] = {}
    for c in open_cases:
        parts.setdefault(str(words[c.case]), set()).add(c.patient)
    if len(parts) < 2:
        what = f"all cases are of one {word}, {min(parts)}" if parts else "no case is outside the official test set"
        raise DatalistError(what, how="give --folds a number")
    due, how = _due(open_cases, sought), "give --folds a number"
    for name, missing in product(sorted(parts), due):
        if not _due([c for c in open_cases if words[c.case] == name], sought).get(missing):
            raise DatalistError(f"the {word} {name} has no case {missing}: nothing can be measured on it", how=how)
    splits = []
    for k, name in enumerate(sorted(parts)):
        rest = [c for c in open_cases if c.patient not in parts[name]]
        for needed in due:
            left = len(_due(rest, sought).get(needed, ()))
            if left < 2:
                few = f"without the {word} {name} there are {left} patients {needed}"
                raise DatalistError(f"{few}: too few for training and validation", how=how)
        tested = [c for c in open_cases if words[c.case] == name]
        splits.append(_rest_divided(tested + rest, parts[name], validation, seed + k, sought))
    return splits


def _outside_the_test_set(cases: Sequence[SplitCase]) -> list[SplitCase]:
    cases = _one_spelling(cases)
    tested = _official(cases).test
    return [c for c in cases if c.patient not in tested]


def _rest_divided(cases: Sequence[SplitCase], held: set[str], validation: float, seed: int, sought: str) -> Split:
    """The split whose test part are the held patients, all others divided into training and validation."""
    rest = _groups([c for c in cases if c.patient not in held])

    def divide(rng: np.random.Generator) -> list[set[str]]:
        training, chosen = set(), set()
        for standings in rest.values():
            number = len(standings)
            picked = set(_spaced(_ordered(standings, rng), _count(validation, number, number - 1), rng))
            chosen |= picked
            training |= standings.keys() - picked
        return [training, chosen, held]

    return _named(cases, _complete(cases, divide, seed, sought))


def split_warnings(split: Split, cases: Sequence[SplitCase], kind: str, sought: str = "anything labelled") -> list[str]:
    """What is allowed and still weakens the figures: small validation sets, a single case with lesions or of a group.
    `kind`: picture or volume."""
    by_name = {c.case: c for c in cases}
    warnings = []
    if len(split["validation"]) < SMALL_VALIDATION[kind]:
        warnings.append(
            f"The validation set holds {len(split['validation'])} {kind}s: its figures swing, and the best "
            "epoch is partly luck. Cross-validate (--folds)."
        )
    groups = sorted({c.group for c in cases} - {""})
    for section in SECTIONS:
        here = [by_name[name] for name in split[section]]
        if not groups and len(here) > 1 and sum(c.share > 0 for c in here) == 1:
            warnings.append(f"Only one case of the {section} set has {sought}.")
        for group in groups:
            if sum(c.group == group for c in here) == 1:
                warnings.append(f"Only one case of the {section} set is of the class {group}.")
    return warnings


def _official(cases: Sequence[SplitCase]) -> _Official:
    sets = []
    for name in ("test", "validation"):
        inside = {c.patient for c in cases if getattr(c, f"official_{name}")}
        both = sorted(inside & {c.patient for c in cases if not getattr(c, f"official_{name}")})
        if both:
            raise DatalistError(
                f"{len(both)} patients are in the official {name} set and outside it",
                where=both[0],
                how="leave them out of one",
            )
        sets.append(inside)
    return _Official(*sets)


def _groups(cases: Sequence[SplitCase]) -> dict[str, dict[str, Standing]]:
    """Standings of the patients of each group; a patient is in the one that most of its cases are in."""
    standings = _standings(cases)
    group = {patient: _most(c.group for c in found) for patient, found in _by_patient(cases).items()}
    return {name: {p: s for p, s in standings.items() if group[p] == name} for name in sorted(set(group.values()))}


def _patients(standings: Mapping[str, Standing], group: str) -> str:
    return f"{len(standings)} patients{f' of the class {group}' if group else ''}"


def _by_patient(cases: Sequence[SplitCase]) -> dict[str, list[SplitCase]]:
    by_patient: dict[str, list[SplitCase]] = {}
    for c in cases:
        by_patient.setdefault(c.patient, []).append(c)
    return by_patient


def _standings(cases: Sequence[SplitCase]) -> dict[str, Standing]:
    return {
        patient: (_most(c.stratum for c in found), float(np.mean([c.share for c in found])))
        for patient, found in sorted(_by_patient(cases).items())
    }


def _most(names: Iterable[str]) -> str:
    """The most frequent name, the first by name among equals."""
    number = Counter(names)
    return min(number, key=lambda name: (-number[name], name))


def _one_spelling(cases: Sequence[SplitCase]) -> list[SplitCase]:
    spellings = Spellings()
    return [replace(c, patient=spellings(c.patient)) for c in cases]


def _ordered(standings: Mapping[str, Standing], rng: np.random.Generator) -> list[list[str]]:
    """Stratum by stratum, tercile by tercile, at random within: equal steps along it take each one's due."""
    order: list[list[str]] = []
    for stratum in sorted({name for name, _ in standings.values()}):
        ranked = sorted((p for p in standings if standings[p][0] == stratum), key=lambda p: (standings[p][1], p))
        for tercile in np.array_split(np.array(ranked, dtype=object), 3):
            order.append([str(p) for p in rng.permutation(tercile)])
    return order


def _count(part: float, total: int, most: int) -> int:
    return min(max(round(part * total), 1), most)


def _spaced(parts: Sequence[Sequence[str]], count: int, rng: np.random.Generator) -> list[str]:
    """So many, at equal steps along the parts, from the middle of the first step on.

    Where that would take nobody from one of the parts, whatever the seed, the start is drawn: everybody then has the
    same chance. Elsewhere it is not, so that sets that were prepared with a seed stay what they are.
    """
    order = list(chain(*parts))
    ends = np.cumsum([len(part) for part in parts])

    def places(start: float) -> list[int]:
        return [min(int((i + start) * len(order) / count), len(order) - 1) for i in range(count)]

    reached = set(np.searchsorted(ends, places(0.5), side="right").tolist())
    fair = all(number in reached for number, part in enumerate(parts) if part)
    return [order[place] for place in places(0.5 if fair else (0.5 + float(rng.random())) % 1)]


def _due(cases: Sequence[SplitCase], sought: str) -> dict[str, set[str]]:
    """What each part needs a patient with, in words, and who has it: each class, or else what is sought."""
    groups = sorted({c.group for c in cases} - {""})
    if groups:
        return {f"of the class {group}": {c.patient for c in cases if c.group == group} for group in groups}
    return {f"with {sought}": {c.patient for c in cases if c.share > 0}}


def _complete(
    cases: Sequence[SplitCase], draw: Callable[[np.random.Generator], list[set[str]]], seed: int, sought: str
) -> list[set[str]]:
    """The first drawing in which each part has a patient with lesions, or one of each group: without any, its lesion
    Dice, or its area under the curve, means nothing."""
    due = _due(cases, sought)
    if not all(due.values()):
        raise DatalistError(f"no case has {sought}: the class is empty", how=f"add cases with {sought}")
    rng = np.random.default_rng(seed)
    for _ in range(_ATTEMPTS):
        parts = draw(rng)
        short = [what for what, found in due.items() if not all(part & found for part in parts)]
        if not short:
            return parts
    raise DatalistError(
        f"{len(due[short[0]])} patients {short[0]} do not suffice for {len(parts)} parts",
        how=f"add cases {short[0]}, or ask for fewer folds",
    )


def _named(cases: Sequence[SplitCase], parts: list[set[str]]) -> Split:
    return {
        name: sorted(c.case for c in cases if c.patient in part) for name, part in zip(SECTIONS, parts, strict=True)
    }
