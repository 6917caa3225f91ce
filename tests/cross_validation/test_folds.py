"""Folds are checked together; a fold's own folder has nobody on both sides, and extra data in the training alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_folds import image_of

from pipelines.cross_validation import near_duplicates, read_extras, read_folds, write_fold
from pipelines.errors import DatalistError
from pipelines.preparation.datalist import load_datalist

SECTIONS = ("training", "validation", "test")


@pytest.fixture
def prepared(tmp_path: Path, make_prepared: Callable[..., Path]) -> Path:
    return make_prepared(tmp_path / "data", cases=6, folds=3)


def names(content: dict, section: str) -> set[str]:
    return {item["case"] for item in content[section]}


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_each_case_is_left_out_once(prepared: Path) -> None:
    folds = read_folds(prepared)
    assert [fold.number for fold in folds] == [0, 1, 2]
    left_out = [item["case"] for fold in folds for item in fold.left_out]
    assert sorted(left_out) == [f"case{k}" for k in range(6)]
    assert all(len(fold.others) + len(fold.left_out) == 6 for fold in folds)


def test_a_folder_without_folds_says_how_to_make_them(tmp_path: Path, make_prepared: Callable[..., Path]) -> None:
    with pytest.raises(DatalistError, match=r"there are no folds here; .*data prepare .*--folds 5"):
        read_folds(make_prepared(tmp_path / "plain", folds=0))
    with pytest.raises(DatalistError, match="there is one fold alone"):
        read_folds(make_prepared(tmp_path / "one", folds=1))
    with pytest.raises(DatalistError, match="there is no prepared folder here"):
        read_folds(tmp_path / "nowhere")


def test_folds_of_different_data_are_not_mixed(prepared: Path) -> None:
    change(prepared / "datalist_fold1.json", fingerprint="sha256:other")
    with pytest.raises(DatalistError, match="fingerprints differ"):
        read_folds(prepared)


def test_a_case_that_is_left_out_twice_or_never_is_refused(prepared: Path) -> None:
    shutil.copy(prepared / "datalist_fold0.json", prepared / "datalist_fold1.json")
    with pytest.raises(DatalistError, match="case case0 is left out by fold 0 and by fold 1"):
        read_folds(prepared)
    (prepared / "datalist_fold1.json").unlink()
    with pytest.raises(DatalistError, match="case case1 is left out by no fold"):
        read_folds(prepared)


def test_the_folder_of_a_fold_is_a_prepared_one(prepared: Path, tmp_path: Path) -> None:
    for fold in read_folds(prepared):
        sections = {name: fold.content[name] for name in SECTIONS}
        folder = write_fold(tmp_path / f"fold{fold.number}", prepared, fold.content, sections, leave={"case5"})
        content = load_datalist(folder, verify=False)
        assert names(content, "test") == {item["case"] for item in fold.left_out}, "what is measured is never dropped"
        assert names(content, "validation") == names(fold.content, "validation")
        assert names(content, "training") == names(fold.content, "training") - {"case5"}
        assert content["fingerprint"] == fold.content["fingerprint"]
        image = Path(content["test"][0]["image"])
        assert image.read_text() == (prepared / "images" / image.name).read_text()


def test_extra_data_join_the_training_and_are_watched(
    prepared: Path, tmp_path: Path, make_prepared: Callable[..., Path]
) -> None:
    phantoms = make_prepared(tmp_path / "phantoms", cases=4, folds=0, phantom=True)  # called as the others are
    folds = read_folds(prepared)
    extras = read_extras([phantoms], folds, prepared)
    sections = {name: folds[0].content[name] for name in SECTIONS}
    content = load_datalist(write_fold(tmp_path / "fold0", prepared, folds[0].content, sections, extras))
    own = names(folds[0].content, "training") | names(folds[0].content, "validation")
    assert names(content, "training") == own | {"extra0_case2", "extra0_case3"}
    assert names(content, "validation") == {"extra0_case1"}
    assert names(content, "test") == names(folds[0].content, "test")
    extra = next(item for item in content["training"] if item["case"] == "extra0_case2")
    assert Path(extra["image"]).read_text() == "images phantoms 2", "not the file of the same name"


def test_extra_data_that_would_leak_or_do_not_fit_are_refused(
    prepared: Path, tmp_path: Path, make_prepared: Callable[..., Path]
) -> None:
    folds = read_folds(prepared)
    with pytest.raises(DatalistError, match=r"patient patient0 is also in .* both sides"):
        read_extras([make_prepared(tmp_path / "same", folds=0)], folds, prepared)
    others = make_prepared(tmp_path / "others", folds=0, patient="p", labels={"0": "background", "1": "mole"})
    with pytest.raises(DatalistError, match=r"the labels are .*mole"):
        read_extras([others], folds, prepared)


def test_what_nearly_equals_a_case_is_not_trained_on_when_that_is_left_out(
    tmp_path: Path, make_prepared: Callable[..., Path]
) -> None:
    prepared = make_prepared(tmp_path / "data", cases=6, folds=2)
    extra = make_prepared(tmp_path / "extra", cases=4, folds=0, name="alike", patient="q")
    folds = read_folds(prepared)
    extras = read_extras([extra], folds, prepared)

    def read(item: dict):  # cases 0 and 3 are alike, and case 1 and an extra one
        alike = {"case0": "alike0", "case3": "alike0", "case1": "alike2"}
        return image_of({"case": alike.get(item["case"], item["case"])})

    found = near_duplicates(folds, extras, read)
    assert found == {0: {"case3"}, 1: {"case0", "extra0_alike2"}}
    sections, everything = {name: folds[0].content[name] for name in SECTIONS}, {f"case{k}" for k in range(6)}
    with pytest.raises(DatalistError, match="nothing is left to train on"):
        write_fold(tmp_path / "f", prepared, folds[0].content, sections, leave=everything)
