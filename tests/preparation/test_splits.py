from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.errors import DatalistError, UsageError
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import (
    SplitCase,
    check_folds,
    fold_cases,
    leave_one_out,
    split_cases,
    split_warnings,
)


def cases(patients: int, each: int = 1, ill: int | None = None) -> list[SplitCase]:
    ill = patients if ill is None else ill
    return [
        SplitCase(f"c{p:02d}_{i}", f"p{p:02d}", (p + 1) / 100 if p < ill else 0.0)
        for p in range(patients)
        for i in range(each)
    ]


def patients_of(names: list[str]) -> set[str]:
    return {name.split("_")[0] for name in names}


def test_no_patient_in_two_splits_and_no_case_lost() -> None:
    split = split_cases(cases(20, each=3), seed=1)
    parts = [patients_of(split[s]) for s in SECTIONS]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 20
    assert sum(len(split[s]) for s in SECTIONS) == 60
    assert [len(p) for p in parts] == [12, 4, 4]


def test_seed_decides() -> None:
    assert split_cases(cases(20), seed=1) == split_cases(cases(20), seed=1)
    assert split_cases(cases(20), seed=1) != split_cases(cases(20), seed=2)


def test_each_split_has_small_and_large_lesions() -> None:
    shares = {c.case: c.share for c in cases(30)}
    for seed in range(5):
        split = split_cases(cases(30), seed=seed)
        for section in SECTIONS:
            third = np.digitize([shares[name] for name in split[section]], [0.105, 0.205])
            assert np.bincount(third, minlength=3).min() >= 1


def with_strata(everyone: list[SplitCase], *names: str) -> list[SplitCase]:
    """The same cases, patient by patient in one stratum after another."""
    order = sorted({c.patient for c in everyone})
    return [replace(c, stratum=names[order.index(c.patient) % len(names)]) for c in everyone]


def test_strata_are_spread_as_evenly_as_their_number_allows() -> None:
    everyone = with_strata(cases(40, each=2), "nevus", "nevus", "nevus", "melanoma")  # of 10 patients a melanoma
    strata = {c.case: c.stratum for c in everyone}
    for seed in range(5):
        parts = split_cases(everyone, seed=seed)
        number = [sum(strata[name] == "melanoma" for name in parts[section]) // 2 for section in SECTIONS]
        assert number == [6, 2, 2]
        for fold in fold_cases(everyone, 5, seed=seed):
            assert sum(strata[name] == "melanoma" for name in fold["test"]) == 4


def test_small_and_large_lesions_are_spread_within_a_stratum() -> None:
    everyone = with_strata(cases(60), "nevus", "melanoma")
    by_name = {c.case: c for c in everyone}
    for section, names in split_cases(everyone, seed=2).items():
        for stratum in ("nevus", "melanoma"):
            shares = [by_name[name].share for name in names if by_name[name].stratum == stratum]
            assert np.bincount(np.digitize(shares, [0.205, 0.405]), minlength=3).min() >= 1, section


def test_one_stratum_is_as_none() -> None:
    assert split_cases(with_strata(cases(20), "x"), seed=4) == split_cases(cases(20), seed=4)
    assert fold_cases(with_strata(cases(20), "x"), 4, seed=4) == fold_cases(cases(20), 4, seed=4)


def test_a_patient_of_two_strata_is_not_divided() -> None:
    everyone = [replace(c, stratum=c.case[-1]) for c in cases(12, each=3)]
    split = split_cases(everyone)
    assert sum(len(patients_of(split[section])) for section in SECTIONS) == 12


def test_official_test_set_stays() -> None:
    official = [SplitCase("t0", "q0", 0.1, True), SplitCase("t1", "q1", 0.2, True)]
    split = split_cases(cases(10) + official)
    assert split["test"] == ["t0", "t1"]
    assert len(split["validation"]) == 2
    for fold in fold_cases(cases(10) + official, 5):
        assert not {"t0", "t1"} & {name for s in SECTIONS for name in fold[s]}


def test_patient_in_official_test_and_training_is_refused() -> None:
    with pytest.raises(DatalistError, match="official test set and outside"):
        split_cases([*cases(10), SplitCase("t0", "p03", 0.1, True)])


def test_folds_test_each_patient_once() -> None:
    folds = fold_cases(cases(13, each=2), 5, seed=3)
    tested = [name for fold in folds for name in fold["test"]]
    assert sorted(tested) == sorted(c.case for c in cases(13, each=2))
    for fold in folds:
        parts = [patients_of(fold[s]) for s in SECTIONS]
        assert all(parts)
        assert sum(map(len, parts)) == len(set().union(*parts)) == 13


def two_sources() -> tuple[list[SplitCase], dict[str, str | None]]:
    """Twelve patients of two cases each, every third patient from B."""
    everyone = cases(12, each=2)
    return everyone, {c.case: "B" if int(c.patient[1:]) % 3 == 0 else "A" for c in everyone}


def test_each_source_is_left_out_whole_by_one_fold() -> None:
    everyone, words = two_sources()
    folds = leave_one_out(everyone, "source", words, validation=0.25, seed=3)
    assert [{words[name] for name in fold["test"]} for fold in folds] == [{"A"}, {"B"}]
    for fold in folds:
        parts = [patients_of(fold[s]) for s in SECTIONS]
        assert sum(map(len, parts)) == len(set().union(*parts)) == 12
        assert len(parts[1]) == round(0.25 * len(parts[0] | parts[1]))
        assert not {words[name] for s in ("training", "validation") for name in fold[s]} & {
            words[name] for name in fold["test"]
        }
    assert folds == leave_one_out(everyone, "source", words, validation=0.25, seed=3)


def test_an_official_test_set_takes_no_part_when_a_source_is_left_out() -> None:
    everyone, words = two_sources()
    official = SplitCase("t0", "q0", 0.1, True)
    folds = leave_one_out([*everyone, official], "source", {**words, "t0": "C"})
    assert folds == leave_one_out(everyone, "source", words)


def test_a_patient_of_two_sources_is_not_trained_on_where_one_of_them_is_left_out() -> None:
    everyone, words = two_sources()
    without_a, without_b = leave_one_out(everyone, "source", {**words, "c03_1": "A"})
    assert "c03_1" in without_a["test"]
    assert "c03_0" in without_b["test"]
    for fold, case in ((without_a, "c03_0"), (without_b, "c03_1")):
        assert all(case not in fold[section] for section in SECTIONS)
        parts = [patients_of(fold[s]) for s in SECTIONS]
        assert sum(map(len, parts)) == len(set().union(*parts))


def test_sources_that_cannot_be_left_out() -> None:
    everyone, words = two_sources()
    with pytest.raises(DatalistError, match="all cases are of one source, A"):
        leave_one_out(everyone, "source", dict.fromkeys(words, "A"))
    with pytest.raises(DatalistError, match="1 cases say no source"):
        leave_one_out(everyone, "source", {**words, "c03_1": None})
    with pytest.raises(DatalistError, match="the source B has no case with anything labelled"):
        leave_one_out([replace(c, share=0.0) if words[c.case] == "B" else c for c in everyone], "source", words)
    with pytest.raises(DatalistError, match="without the source A there are 1 patients with anything"):
        leave_one_out([*everyone[2:6], everyone[0]], "source", words)
    classed = [replace(c, group="ill" if int(c.patient[1:]) % 3 == 1 else "well") for c in everyone]
    with pytest.raises(DatalistError, match="the source B has no case of the class ill"):
        leave_one_out(classed, "source", words)


@pytest.mark.parametrize("folds", [1, -1, "scanner"])
def test_folds_that_cannot_be(folds: int | str) -> None:
    check_folds(0, ())
    check_folds("source", ("source",))
    with pytest.raises(UsageError):
        check_folds(folds, ("source",))


def test_empty_class_is_refused() -> None:
    with pytest.raises(DatalistError, match="class is empty"):
        split_cases(cases(10, ill=0))
    with pytest.raises(DatalistError, match="do not suffice"):
        split_cases(cases(10, ill=2))


def test_every_split_has_a_lesion_even_where_few_do() -> None:
    everyone = cases(20, ill=3)
    ill = {c.case for c in everyone if c.share > 0}
    for seed in range(10):
        split = split_cases(everyone, seed=seed)
        assert all(ill & set(split[s]) for s in SECTIONS)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DatalistError, match="2 patients cannot fill 3 splits"):
        split_cases(cases(2, each=10))
    with pytest.raises(DatalistError, match="4 patients cannot fill 5 folds"):
        fold_cases(cases(4), 5)


@pytest.mark.parametrize(("validation", "test"), [(0, 0.2), (0.6, 0.4), (-0.1, 0.2), (0.2, float("nan"))])
def test_parts_that_cannot_be(validation: float, test: float) -> None:
    with pytest.raises(UsageError, match="parts"):
        split_cases(cases(10), validation=validation, test=test)


def test_small_validation_and_a_class_of_one_are_said() -> None:
    everyone = cases(80, ill=3)
    split = split_cases(everyone)
    said = " ".join(split_warnings(split, everyone, "picture", "lesions"))
    assert "validation set holds 16 pictures" in said
    assert "Only one case of the test set has lesions" in said
    assert split_warnings(split_cases(cases(200)), cases(200), "picture") == []
