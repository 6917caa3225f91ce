"""One person is one patient, however the name is written, and every patient may be tested."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from pipelines.errors import DatalistError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.one_spelling import one_spelling
from pipelines.preparation.patient_names import Spellings, patient_key
from pipelines.preparation.raw_case import RawCase, RawFolder
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import SplitCase, fold_cases, split_cases
from pipelines.tasks.dermoscopy.diagnosis_tables import read_diagnoses

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("one", "other"), [("P1", "p1"), ("P1", " P1 "), (COMPOSED, DECOMPOSED), ("Ｐ1", "p1"), ("STRASSE 1", "Straße  1")]
)
def test_ways_to_write_one_name(one: str, other: str) -> None:
    assert patient_key(one) == patient_key(other)
    spelling = Spellings()
    assert [spelling(one), spelling(other), spelling("somebody else")] == [one, one, "somebody else"]


@pytest.mark.parametrize(("one", "other"), [("P1", "P2"), ("P1", "P01"), ("P 1", "P1"), ("a-b", "ab")])
def test_other_names_stay_apart(one: str, other: str) -> None:
    assert patient_key(one) != patient_key(other)


@pytest.mark.parametrize(("one", "other"), [("P1", "p1"), (COMPOSED, DECOMPOSED)])
def test_two_spellings_are_never_on_both_sides_of_a_split(one: str, other: str) -> None:
    cases = [SplitCase("first", one, 0.1), SplitCase("second", other, 0.2)]
    cases += [SplitCase(f"c{k}", f"q{k}", 0.1) for k in range(8)]
    for seed in range(30):
        for split in (split_cases(cases, seed=seed), *fold_cases(cases, 3, seed=seed)):
            where = {section for section in SECTIONS if {"first", "second"} & set(split[section])}
            assert len(where) == 1


def test_a_patient_in_an_official_test_set_and_outside_it_by_another_spelling_is_refused() -> None:
    cases = [SplitCase("t", "p1", 0.1, official_test=True), SplitCase("c", "P1", 0.1)]
    with pytest.raises(DatalistError, match="official test set and outside it"):
        split_cases([*cases, *(SplitCase(f"c{k}", f"q{k}", 0.1) for k in range(8))])


def test_a_hand_written_list_with_a_patient_in_two_splits_by_another_spelling_is_refused(tmp_path: Path) -> None:
    content: dict[str, object] = {"labels": {"0": "background", "1": "lesion"}}
    for section, patient in zip(SECTIONS, ("P1", "q", "p1"), strict=True):
        for kind in ("image", "label"):
            (tmp_path / f"{section}_{kind}.png").write_bytes(b"x")
        entry = {"image": f"{section}_image.png", "label": f"{section}_label.png"}
        content[section] = [entry | {"patient": patient, "case": section}]
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    with pytest.raises(DatalistError, match="is in training and in test"):
        load_datalist(tmp_path)


def test_spellings_in_a_table_are_one_hash(tmp_path: Path) -> None:
    (tmp_path / "diagnosis.csv").write_text(
        f"image,diagnosis,patient\na.jpg,nevus,IP_1\nb.jpg,nevus,ip_1\nc.jpg,nevus,{COMPOSED}\nd.jpg,nevus,{DECOMPOSED}\n",
        encoding="utf-8",
    )
    patients = [known.patient for known in read_diagnoses(tmp_path / "diagnosis.csv").values()]
    assert patients[0] == patients[1] != patients[2] == patients[3]


@pytest.mark.parametrize("number", [3, 4, 5, 7, 10, 12, 16])
def test_every_patient_may_be_tested_and_may_validate(number: int) -> None:
    """Of ten patients the middle three were never tested, whatever the seed."""
    cases = [SplitCase(f"c{k}", f"p{k:02d}", (k + 1) / 100) for k in range(number)]
    splits = [split_cases(cases, seed=seed) for seed in range(120)]
    for section in ("test", "validation"):
        assert {name for split in splits for name in split[section]} == {c.case for c in cases}


def test_a_rare_stratum_may_be_tested() -> None:
    cases = [
        SplitCase(f"c{k:02d}", f"p{k:02d}", (k + 1) / 100, stratum="rare" if k < 2 else "common") for k in range(30)
    ]
    tested = {name for seed in range(120) for name in split_cases(cases, seed=seed)["test"]}
    assert tested == {c.case for c in cases}


def test_classes_of_few_patients_may_all_be_tested() -> None:
    cases = [SplitCase(f"c{k:02d}", f"p{k:02d}", 0.0, group="ab"[k % 2]) for k in range(16)]
    tested = {name for seed in range(120) for name in split_cases(cases, seed=seed)["test"]}
    assert tested == {c.case for c in cases}


def test_a_prepared_folder_has_one_name_a_patient_and_says_which_were_joined() -> None:
    cases = [RawCase(name, patient, Path(name)) for name, patient in (("a", "P1"), ("b", "p1"), ("c", "p2"))]
    found = one_spelling(RawFolder("made", cases, True, notes=["a note"]))
    assert [raw.patient for raw in found.cases] == ["P1", "P1", "p2"]
    assert found.notes[0] == "a note"
    assert found.notes[1].startswith("P1 and p1 are taken as one patient")
    assert len(found.notes) == 2
