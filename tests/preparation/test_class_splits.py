"""Splits of cases that each are of a class."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.errors import DatalistError
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import SplitCase, fold_cases, split_cases, split_warnings


def xrays(normal: int, pneumonia: int, each: int = 1) -> list[SplitCase]:
    """Patients of two classes, every third of pneumonia a virus, with `each` pictures."""
    found = []
    for group, number in (("normal", normal), ("pneumonia", pneumonia)):
        for p in range(number):
            stratum = "" if group == "normal" else "virus" if p % 3 == 0 else "bacteria"
            found += [
                SplitCase(f"{group}{p:02d}_{i}", f"{group}{p:02d}", 0.0, False, stratum, group) for i in range(each)
            ]
    return found


def number(names: list[str], group: str) -> int:
    return sum(name.startswith(group) for name in names)


def test_each_part_has_each_class_however_few_there_are() -> None:
    for seed in range(10):
        split = split_cases(xrays(3, 30), validation=0.1, test=0.1, seed=seed)
        assert [number(split[s], "normal") for s in SECTIONS] == [1, 1, 1]
        assert [number(split[s], "pneumonia") for s in SECTIONS] == [24, 3, 3]


def test_classes_and_subtypes_are_spread_evenly_and_patients_stay_together() -> None:
    cases = xrays(20, 60, each=2)
    strata = {c.case: c.stratum for c in cases}
    split = split_cases(cases, seed=4)
    assert [number(split[s], "normal") for s in SECTIONS] == [24, 8, 8]
    assert [sum(strata[name] == "virus" for name in split[s]) for s in SECTIONS] == [24, 8, 8]
    patients = [{name.split("_")[0] for name in split[s]} for s in SECTIONS]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 80
    for fold in fold_cases(cases, 4, seed=4):
        assert (number(fold["test"], "normal"), number(fold["test"], "pneumonia")) == (10, 30)
        assert number(fold["validation"], "normal") == 6


def test_official_sets_stay_and_their_fractions_are_not_used() -> None:
    open_cases = xrays(10, 20)
    held = [replace(c, case=f"{c.case}t", patient=f"t{c.patient}", official_test=True) for c in xrays(2, 3)]
    chosen = [replace(c, case=f"{c.case}v", patient=f"v{c.patient}", official_validation=True) for c in xrays(1, 4)]
    both = split_cases([*open_cases, *held, *chosen])
    assert both["test"] == sorted(c.case for c in held)
    assert both["validation"] == sorted(c.case for c in chosen)
    assert both["training"] == sorted(c.case for c in open_cases)
    only = split_cases([*open_cases, *chosen], test=0.2)
    assert only["validation"] == both["validation"]
    assert (number(only["test"], "normal"), number(only["test"], "pneumonia")) == (2, 4)
    folds = fold_cases([*open_cases, *held, *chosen], 3)
    dealt = [name for fold in folds for name in fold["test"]]
    assert sorted(dealt) == sorted(c.case for c in (*open_cases, *chosen))


@pytest.mark.parametrize("kind", ["test", "validation"])
def test_a_patient_in_an_official_set_and_outside_it_is_refused(kind: str) -> None:
    cases = xrays(5, 5, each=2)
    cases[0] = replace(cases[0], **{f"official_{kind}": True})
    with pytest.raises(DatalistError, match=f"normal00: 1 patients are in the official {kind} set and outside it"):
        split_cases(cases)


def test_an_official_set_without_a_class_is_refused() -> None:
    held = [replace(c, case=f"t{c.case}", patient=f"t{c.patient}", official_test=True) for c in xrays(0, 3)]
    with pytest.raises(DatalistError, match="the official test set has no case of the class normal"):
        split_cases([*xrays(5, 5), *held])


def test_too_few_patients_of_a_class() -> None:
    with pytest.raises(DatalistError, match="2 patients of the class normal cannot fill 3 splits"):
        split_cases(xrays(2, 30, each=5))
    with pytest.raises(DatalistError, match="4 patients of the class normal cannot fill 5 folds"):
        fold_cases(xrays(4, 30), 5)


def test_a_single_case_of_a_class_is_warned_of() -> None:
    cases = xrays(3, 90)
    warnings = split_warnings(split_cases(cases), cases, "picture")
    assert warnings == [
        "The validation set holds 19 pictures: its figures swing, and the best epoch is partly luck. "
        "Cross-validate (--folds).",
        *(f"Only one case of the {section} set is of the class normal." for section in SECTIONS),
    ]
