"""What is found in a folder: each kind of it, moved, cut off, empty, with links."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from written_folders import refused_case, write_ct_case, write_manifest, write_skin_case

from pipelines.errors import PipelinesError, UsageError
from pipelines.key_figures import classes, figures, warnings
from pipelines.predicted import read_manifest
from pipelines.viewer.cases import read_folder
from pipelines.viewer.pairs import pair


def test_a_folder_of_predict(predictions: Path) -> None:
    found = read_folder(predictions)
    assert found.kind == "predictions"
    assert [(case.name, case.status) for case in found.cases] == [
        ("ward/scan", "done"),
        ("mole", "done"),
        ("broken.nii.gz", "refused"),
    ]
    scan, mole, broken = found.cases
    assert scan.layers[0].path == predictions / "ward" / "scan_mask.nii.gz"
    assert scan.labels == {0: "background", 1: "lung", 2: "lesion"}
    assert mole.overlay == predictions / "mole_overlay.png", "no key of the manifest names it"
    assert "copy it again" in (broken.error or "")


def test_a_moved_folder_is_still_shown(predictions: Path, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere"
    away.mkdir()
    for name in ("out", "images"):
        shutil.move(tmp_path / name, away / name)
    scan, mole, _ = read_folder(away / "out").cases
    assert scan.name == "ward/scan"
    assert scan.image == away / "images" / "scan.nii.gz"
    assert scan.layers[0].path == away / "out" / "ward" / "scan_mask.nii.gz"
    assert mole.layers[0].path == away / "out" / "mole_mask.png"


def test_a_copied_folder_shows_its_own_files(predictions: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(predictions, copy)
    scan, mole, _ = read_folder(copy).cases
    assert (scan.name, mole.name) == ("ward/scan", "mole")
    assert scan.layers[0].path == copy / "ward" / "scan_mask.nii.gz"
    assert mole.layers[0].path == copy / "mole_mask.png"
    assert (mole.overlay, mole.report["parts"]) == (copy / "mole_overlay.png", 1)
    assert scan.image == tmp_path / "images" / "scan.nii.gz"
    (copy / "mole_mask.png").unlink()
    assert read_folder(copy).cases[1].layers == (), "not the mask of the folder that it was copied from"


def test_a_copied_evaluation_shows_its_own_masks(tmp_path: Path) -> None:
    run, images = tmp_path / "run", tmp_path / "images"
    write_ct_case(run, images, "one")
    mask = str(run / "one_mask.nii.gz")
    listed = [{"case": "one", "image": str(images / "one.nii.gz"), "mask": mask, "label": mask}]
    listed.append({"case": "odd", "image": "a\0b", "mask": "n" * 5000, "label": "n" * 5000})
    (run / "cases.json").write_text(json.dumps(listed))
    shutil.copytree(run, tmp_path / "copy")
    one, odd = read_folder(tmp_path / "copy").cases
    assert [layer.path.parent.name for layer in one.layers] == ["copy", "run"]
    assert odd.layers == ()


def test_a_manifest_of_later_and_of_a_killed_predict(predictions: Path) -> None:
    path = predictions / "manifest.jsonl"
    entry = json.loads(path.read_text().splitlines()[0])
    files = {"mask": entry.pop("mask"), "report": entry.pop("report"), "page": "/nowhere/page.png"}
    interrupted = {"input": "/x/y.png", "status": "interrupted", "error": None}
    again = {**entry, "files": files, "seconds": 2.5}
    lines = [json.dumps(each) for each in ({**entry, "status": "failed"}, again, interrupted)]
    path.write_text("\n".join([*lines, '{"input": "/x/z.png", "sta']))
    scan, other = read_manifest(predictions)
    assert (scan.name, scan.status, set(scan.files)) == ("ward/scan", "done", {"mask", "report"})
    assert (other.name, other.status) == ("y.png", "interrupted")


def test_files_that_a_link_leads_away_from_are_not_taken(predictions: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.nii.gz"
    shutil.move(predictions / "ward" / "scan_mask.nii.gz", secret)
    (predictions / "ward" / "scan_mask.nii.gz").symlink_to(secret)
    overlay = predictions / "mole_overlay.png"
    overlay.unlink()
    overlay.symlink_to("/etc/passwd")
    scan, mole, _ = read_folder(predictions).cases
    assert scan.layers == ()
    assert mole.overlay is None


def test_a_name_that_climbs_out_is_not_taken(predictions: Path, tmp_path: Path) -> None:
    for name in ("scan_mask.nii.gz", "scan_report.json"):
        shutil.copy(predictions / "ward" / name, tmp_path / name)
    entry = {
        "input": "/x/scan.nii.gz",
        "status": "done",
        "mask": str(predictions / ".." / "scan_mask.nii.gz"),
        "report": "../scan_report.json",
    }
    write_manifest(predictions, [entry])
    (case,) = read_folder(predictions).cases
    assert case.name == "scan.nii.gz"
    assert case.layers == ()
    assert case.report == {}


def test_a_dataset_and_an_evaluation(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_ct_case(data / "labels", data / "images", "one")
    content = {
        "labels": {"0": "background", "1": "lung", "2": "lesion"},
        "training": [{"case": "one", "image": "images/one.nii.gz", "label": "labels/one_mask.nii.gz", "patient": "p"}],
        "test": [{"case": "two", "image": "../../etc/passwd", "label": "/etc/passwd", "patient": "q"}],
    }
    (data / "datalist.json").write_text(json.dumps(content))
    one, two = read_folder(data).cases
    assert (one.status, one.layers[0].title, one.facts["split"]) == ("data", "label", "training")
    assert (two.status, two.image, two.layers) == ("failed", None, ())

    run = tmp_path / "run"
    masks = run / "evaluation" / "masks"
    masks.mkdir(parents=True)
    shutil.copy(data / "labels" / "one_mask.nii.gz", masks / "one.nii.gz")
    listed = [{"case": "one", "image": one.image, "label": one.layers[0].path, "mask": "one.nii.gz"}]
    (masks / "cases.json").write_text(json.dumps(listed, default=str))
    (masks / "labels.json").write_text('{"0": "background", "1": "lung", "2": "lesion"}')
    for given in (run, masks):
        (case,) = read_folder(given).cases
        assert [(layer.key, layer.title) for layer in case.layers] == [("mask", "prediction"), ("label", "truth")]
        assert case.labels[2] == "lesion"


def test_folders_that_hold_nothing_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="nor masks of an evaluation"):
        read_folder(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("")
    with pytest.raises(PipelinesError, match="names no case"):
        read_folder(tmp_path)
    (tmp_path / "manifest.jsonl").unlink()
    (tmp_path / "datalist.json").write_text("[[[")
    with pytest.raises(PipelinesError, match="cannot be read"):
        read_folder(tmp_path)


def test_two_folders_are_paired_by_name_image_and_last_part(tmp_path: Path) -> None:
    images = tmp_path / "images"
    first = [write_ct_case(tmp_path / "a", images, "x/same"), write_skin_case(tmp_path / "a", images, "mole")]
    write_manifest(tmp_path / "a", [*first, refused_case(images)])
    second = [write_ct_case(tmp_path / "b", images, "same"), write_ct_case(tmp_path / "b", images, "more")]
    write_manifest(tmp_path / "b", second)
    entries = pair([read_folder(tmp_path / "a"), read_folder(tmp_path / "b")])
    names = [tuple(case and case.name for case in entry.cases) for entry in entries]
    assert names == [("x/same", "same"), ("mole", None), ("broken.nii.gz", None), (None, "more")]
    assert [key for key, _, _ in entries[0].layers()] == ["0-mask", "1-mask"]


FIGURES = [
    {"key": key, "title": key, "kind": kind}
    for key, kind in (
        ("extent", "share"),
        ("severity.class", "word"),
        ("class", "word"),
        ("lesion_ml", "ml"),
        ("parts", "number"),
    )
]  # fmt: skip


def test_figures_of_each_kind_of_report() -> None:
    report = {"extent": 0.0604, "severity": {"class": "mild"}, "lesion_ml": 311.8, "figures": FIGURES}
    assert [each["text"] for each in figures(report)] == ["6.0 %", "mild", "312 mL"]
    said = {
        "class": "normal",
        "figures": FIGURES,
        "probabilities": {"normal": 0.08, "pneumonia": 0.92},
        "operating_point": {"positive": "pneumonia", "threshold": 0.94},
        "refer": True,
        "reason": "blurred",
    }
    assert [each["text"] for each in figures(said)] == ["normal", "p(pneumonia) 0.92"]
    assert warnings(said) == ["to be seen by a person: blurred"]
    assert figures({"extent": "?", "probabilities": [1], "parts": True, "figures": FIGURES}) == []


@pytest.mark.parametrize(
    ("ml", "text"),
    [
        (0, "0 mL"), (0.36, "0.36 mL"), (0.0042, "0.0042 mL"), (3, "3.0 mL"), (9.94, "9.9 mL"), (0.996, "1.0 mL"),
        (9.96, "10 mL"), (311.8, "312 mL"),
    ],
)  # fmt: skip
def test_small_volumes_have_two_digits(ml: float, text: str) -> None:
    assert [each["text"] for each in figures({"lesion_ml": ml, "figures": FIGURES})] == [text]


def test_numbers_that_are_none_are_no_figures() -> None:
    odd = (float("nan"), float("inf"), 10**400)
    for value in odd:
        report = {
            "extent": value,
            "area_share": value,
            "parts": value,
            "lesion_ml": value,
            "class": "a",
            "figures": FIGURES,
        }
        report |= {"probabilities": {"a": value}, "operating_point": {"positive": "a", "threshold": value}}
        assert [each["text"] for each in figures(report)] == ["a"]
        assert classes(report) == {"prediction": "a", "probabilities": [], "threshold": None}


def test_a_label_of_5000_digits_is_no_label(predictions: Path) -> None:
    path = predictions / "mole_report.json"
    path.write_text(json.dumps({"kind": "picture", "labels": {"9" * 5000: "x", "1": "lesion", "256": "y", "²": "z"}}))
    assert read_folder(predictions).cases[1].labels == {1: "lesion"}
