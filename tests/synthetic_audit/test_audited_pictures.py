"""Generated pictures enter training and nothing else; patients are chosen whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from made_audits import GENERATORS, made_audit

from pipelines.__main__ import main
from pipelines.errors import DatalistError, OutputError, UsageError
from pipelines.files import held
from pipelines.generation import generate_classes
from pipelines.preparation.datalist import files, load_datalist, write_datalist
from pipelines.readers import is_synthetic
from pipelines.synthetic_audit.audit import run_audit
from pipelines.synthetic_audit.pictures import counted, gather, some_patients, write_data

CLASSES: Mapping[int, str] = {0: "normal", 1: "pneumonia"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "prepared"
    assert main(["data", "phantom", "chest_xray", "--cases", "30", "--out", str(folder)]) == 0
    return folder


def test_what_is_trained_on_and_what_is_measured(prepared: Path, tmp_path: Path) -> None:
    audit = made_audit(tmp_path / "out", prepared, shares=(0.5, 1.0))
    pictures = gather(audit)
    own, test = pictures.real, counted(pictures.chosen["test"])
    assert pictures.size == (64, 64)
    assert {k: len(each) for k, each in pictures.generated.items()} == own
    assert {k: len(each) for k, each in pictures.in_test.items()} == test
    used = [each.path for kind in (pictures.generated, pictures.in_test) for part in kind.values() for each in part]
    assert len(set(used)) == len(used), "what shows the fault was not trained on"

    folder = write_data(audit, pictures)
    content = load_datalist(folder)
    real = load_datalist(prepared)
    assert not any(is_synthetic(item["image"]) for name in ("validation", "test") for item in content[name])
    assert {i["case"] for i in content["test"]} == {i["case"] for i in real["test"]}
    for share in (0.0, 0.5, 1.0):
        items = files(folder, "datalist.json", "training", classes=CLASSES, synthetic_share=share)
        made = [item for item in items if is_synthetic(item["image"])]
        assert counted(made) == {k: round(share * n) for k, n in own.items() if round(share * n)}
        assert len(items) - len(made) == sum(own.values())
    before = (folder / "datalist.json").read_bytes()
    write_data(audit, gather(audit))
    assert (folder / "datalist.json").read_bytes() == before, "the same call, the same trainings"


def test_the_refusal_of_generated_pictures_in_test_stands(prepared: Path, tmp_path: Path) -> None:
    audit = made_audit(tmp_path / "out", prepared)
    folder = write_data(audit, gather(audit))
    content = json.loads((folder / "datalist.json").read_text())
    content["test"].append(content["training"].pop())
    write_datalist(folder / "datalist.json", content)
    with pytest.raises(DatalistError, match="is in test"):
        load_datalist(folder)


def test_pictures_of_another_generator_or_too_few_are_made_again(prepared: Path, tmp_path: Path) -> None:
    audit = made_audit(tmp_path / "out", prepared)
    manifest = tmp_path / "out" / "generated" / "synthetic.jsonl"
    gather(audit)
    first = manifest.stat().st_mtime_ns
    gather(audit)
    assert manifest.stat().st_mtime_ns == first
    gather(made_audit(tmp_path / "out", prepared, shares=(2.0,)))
    assert manifest.stat().st_mtime_ns > first


def test_a_folder_of_generated_pictures_must_have_enough(prepared: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    generate_classes({"normal": str(GENERATORS[0]), "pneumonia": str(GENERATORS[1])}, 5, str(made))
    audit = made_audit(tmp_path / "out", prepared)
    object.__setattr__(audit, "generators", [made])
    with pytest.raises(DatalistError, match="are needed, and there are 5"):
        gather(audit)
    object.__setattr__(audit, "generators", GENERATORS[:1])
    with pytest.raises(UsageError, match="no generator draws pneumonia"):
        gather(audit)


def test_a_folder_that_has_generated_pictures_already_is_refused(prepared: Path, tmp_path: Path) -> None:
    audit = made_audit(tmp_path / "out", prepared)
    folder = write_data(audit, gather(audit))
    with pytest.raises(UsageError, match="has generated pictures already"):
        gather(made_audit(tmp_path / "other", folder))


def test_a_generator_of_another_split_is_warned_of(prepared: Path, tmp_path: Path) -> None:
    assert any("another split" in each for each in gather(made_audit(tmp_path / "out", prepared)).warnings)


def test_patients_are_taken_whole_and_each_class_has_its_share() -> None:
    items = [{"patient": f"p{k // 2}", "label": int(k // 2 >= 30), "case": f"c{k}"} for k in range(80)]
    kept = some_patients(items, 20)
    patients = {item["patient"] for item in kept}
    assert len(patients) == 20
    assert len(kept) == 2 * len(patients)
    assert counted(kept) == {0: 30, 1: 10}
    assert kept == some_patients(list(items), 20)
    assert {item["patient"] for item in some_patients(items, 10)} < patients, "more patients are further ones"
    assert some_patients(items, None) == some_patients(items, 40) == items


def test_a_second_audit_in_one_folder_is_refused(prepared: Path, tmp_path: Path) -> None:
    audit = made_audit(tmp_path / "out", prepared)
    with held(audit.out, ".auditing.lock"), pytest.raises(OutputError, match="another call is writing here"):
        run_audit(audit)
