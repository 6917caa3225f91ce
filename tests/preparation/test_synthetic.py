"""Generated pictures join training, by name, and nothing else: by the list, and by the mark in the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from raw_folders import draw_clouds

from pipelines.__main__ import main
from pipelines.datasets import files
from pipelines.errors import DatalistError, UnreadableFileError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.synthetic import MANIFEST, held_out, read_synthetic
from pipelines.readers import is_synthetic, synthetic_mark
from pipelines.tasks.chest_xray.phantom import MIN_SIZE, make_chest_xray_phantom
from pipelines.tasks.chest_xray.prepare import prepare_chest_xray
from pipelines.tasks.general.classes import prepare_classes

CLASSES = {0: "normal", 1: "pneumonia"}
Rewrite = Callable[[Callable[[dict[str, Any]], Any]], None]


def draw(folder: Path, number: int = 8, classes: tuple[str, ...] = ("normal", "pneumonia"), **more: Any) -> Path:
    """A folder of generated pictures, as ``write_samples`` leaves it."""
    lines = []
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            file = f"{name}/{name}_{index:05d}.png"
            seed = 1000 * (place + 1) + index
            picture = make_chest_xray_phantom(seed, MIN_SIZE, name == "pneumonia").picture
            Image.fromarray(picture).save(folder / file, pnginfo=synthetic_mark({"Seed": str(seed)}))
            line = {"file": file, "class": name, "seed": seed, "generator": f"sha256:{name}", "synthetic": True}
            lines.append(line | more)
    (folder / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return draw(tmp_path / "made")


@pytest.fixture
def prepared(xrays: Path, made: Path, tmp_path: Path) -> Path:
    return prepare_chest_xray(xrays, tmp_path / "out", synthetic=made).folder


@pytest.fixture
def rewrite(prepared: Path) -> Rewrite:
    def change(function: Callable[[dict[str, Any]], Any]) -> None:
        content = json.loads((prepared / "datalist.json").read_text())
        function(content)
        (prepared / "datalist.json").write_text(json.dumps(content))

    return change


def test_they_join_training_alone_with_their_mark(prepared: Path, xrays: Path, tmp_path: Path) -> None:
    plain = load_datalist(prepare_chest_xray(xrays, tmp_path / "plain").folder)
    content = load_datalist(prepared, verify=True)
    added = [item for item in content["training"] if item.get("synthetic")]
    assert len(added) == 16
    assert all(is_synthetic(item["image"]) for item in added)
    assert {item["generator"] for item in added} == {"sha256:normal", "sha256:pneumonia"}
    assert all(CLASSES[item["label"]] in item["generator"] for item in added)
    for section in ("training", "validation", "test"):
        real = [item["case"] for item in content[section] if not item.get("synthetic")]
        assert real == [item["case"] for item in plain[section]], "the split of the real ones stays"
    assert content["counts"]["training"]["synthetic"] == {"normal": 8, "pneumonia": 8}
    assert content["counts"]["training"]["cases"] == plain["counts"]["training"]["cases"]
    assert content["fingerprint"] != plain["fingerprint"]
    assert "not counted above: 8 normal, 8 pneumonia." in (prepared / "report.md").read_text()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_share_is_of_the_real_ones_of_each_class(xrays: Path, tmp_path: Path, share: float) -> None:
    made = draw(tmp_path / "made", 20)
    folder = prepare_chest_xray(xrays, tmp_path / "out", synthetic=made, synthetic_share=share).folder
    training = load_datalist(folder)["training"]
    for label in CLASSES:
        real, added = (
            [item for item in training if item["label"] == label and bool(item.get("synthetic")) is kind]
            for kind in (False, True)
        )
        assert len(added) == round(share * len(real))
        assert [item["seed"] for item in added] == list(range(1000 * (label + 1), 1000 * (label + 1) + len(added)))


def test_training_takes_what_share_it_wants(prepared: Path) -> None:
    def numbers(share: float | None) -> list[int]:
        found = files(prepared, "datalist.json", "training", classes=CLASSES, synthetic_share=share)
        return [sum("synthetic" in item["case"] and item["label"] == label for item in found) for label in CLASSES]

    real = files(prepared, "datalist.json", "training", synthetic_share=0)
    counts = [sum(item["label"] == label for item in real) for label in CLASSES]
    assert numbers(None) == [8, 8]
    assert numbers(0) == [0, 0]
    assert numbers(0.5) == [round(0.5 * number) for number in counts]
    with pytest.raises(DatalistError, match="generate more"):
        numbers(5)


def test_a_list_with_one_outside_training_is_refused(prepared: Path, rewrite: Rewrite) -> None:
    """By its entry; and by the file's mark where the entry says nothing, under any name."""
    first = json.loads((prepared / "datalist.json").read_text())["test"][0]
    rewrite(lambda content: content["test"][0].update(synthetic=True))
    with pytest.raises(DatalistError, match=f"generated picture {first['case']} is in test"):
        load_datalist(prepared)
    rewrite(lambda content: content["test"][0].pop("synthetic"))
    load_datalist(prepared)
    shutil.copy(next((prepared / "images").glob("synthetic_*")), prepared / first["image"])  # a .jpg by its name
    with pytest.raises(DatalistError, match=f"generated picture {first['case']} is in test"):
        files(prepared, "datalist.json", "training")


def test_a_list_that_hides_one_in_training_is_refused(prepared: Path, rewrite: Rewrite) -> None:
    rewrite(lambda content: content["training"][-1].pop("synthetic"))
    with pytest.raises(DatalistError, match="says that it is generated, and the list does not"):
        load_datalist(prepared)
    rewrite(lambda content: content["training"][-1].update(synthetic="yes"))
    with pytest.raises(DatalistError, match="not true or false"):
        load_datalist(prepared)


def test_moved_into_validation_it_is_refused(prepared: Path, rewrite: Rewrite) -> None:
    rewrite(lambda content: content["validation"].append(content["training"].pop()))
    with pytest.raises(DatalistError, match="is in validation"):
        load_datalist(prepared)


@pytest.mark.parametrize("name", ["test/NORMAL/IM-0099-0001.png", "train/PNEUMONIA/person77_bacteria_9.jpeg"])
def test_among_raw_pictures_they_are_refused(xrays: Path, made: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(made / "normal" / "normal_00000.png", xrays / name)
    with pytest.raises(DatalistError, match="generated picture is among real pictures"):
        prepare_chest_xray(xrays, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepared = prepare_chest_xray(xrays, tmp_path / "out", skip_bad=True)
    assert Path(name).stem not in {case for cases in prepared.split.values() for case in cases}


def test_classes_take_and_refuse_them_too(xrays: Path, made: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for place, name in enumerate(("normal", "pneumonia")):
        (raw / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(draw_clouds(300 + 10 * place + number)).save(raw / name / f"{name}{number}.png")
    content = load_datalist(prepare_classes(raw, tmp_path / "out", synthetic=made).folder)
    assert sum(bool(item.get("synthetic")) for item in content["training"]) == 16
    shutil.copy(made / "normal" / "normal_00000.png", raw / "normal" / "mine.png")
    with pytest.raises(DatalistError, match="among real pictures"):
        prepare_classes(raw, tmp_path / "other")


def test_what_cannot_be_asked_for(xrays: Path, made: Path, tmp_path: Path) -> None:
    for options, words in (
        ({"synthetic_share": 0.5}, "none are given"),
        ({"synthetic": made, "synthetic_share": -1.0}, "below 0"),
        ({"synthetic": made, "folds": 3}, "no fold would be honest"),
    ):
        with pytest.raises(UsageError, match=words):
            prepare_chest_xray(xrays, tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(DatalistError, match=r"1 of the \d+ real pictures of class pneumonia are wanted"):
        prepare_chest_xray(xrays, tmp_path / "out", synthetic=made, synthetic_share=1.0)
    with pytest.raises(DatalistError, match="class 'cat'"):
        prepare_chest_xray(xrays, tmp_path / "out", synthetic=draw(tmp_path / "cats", classes=("cat",)))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_of_generated_pictures(xrays: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=MANIFEST):
        read_synthetic(xrays)
    lines = (made / MANIFEST).read_text().splitlines()
    for line, error, words in (
        ("{", UnreadableFileError, "cannot be read"),
        (lines[0].replace("true", "false"), UnreadableFileError, "line 1 is of no generated picture"),
        (lines[0].replace("normal/normal_00000", "../../x"), DatalistError, "there is no"),
    ):
        (made / MANIFEST).write_text(line + "\n")
        with pytest.raises(error, match=words):
            read_synthetic(made)
    (made / MANIFEST).write_text(lines[0] + "\n")
    Image.fromarray(draw_clouds(1)).save(made / "normal" / "normal_00000.png")
    with pytest.raises(DatalistError, match="not marked so"):
        read_synthetic(made)


def test_pictures_that_are_no_xrays_are_faults(xrays: Path, made: Path, tmp_path: Path) -> None:
    Image.new("L", (48, 40), 7).save(made / "normal" / "normal_00000.png", pnginfo=synthetic_mark({}))
    with pytest.raises(Exception, match="every pixel has the value 7"):
        prepare_chest_xray(xrays, tmp_path / "out", synthetic=made)
    done = prepare_chest_xray(xrays, tmp_path / "out", synthetic=made, skip_bad=True)
    assert len(done.left_out) == 1
    assert sum(bool(item.get("synthetic")) for item in load_datalist(done.folder)["training"]) == 15


def test_a_generator_of_another_split_or_a_collapsed_one_is_warned_of(xrays: Path, tmp_path: Path) -> None:
    plain = load_datalist(prepare_chest_xray(xrays, tmp_path / "plain").folder)
    held = held_out({item["patient"] for section in ("validation", "test") for item in plain[section]})
    for name, more, words in (
        ("same", {"held_out": held}, None),
        ("other", {"held_out": "sha256:0"}, "trained on another split"),
        ("collapsed", {"held_out": held, "collapsed": True}, "has collapsed"),
    ):
        made = draw(tmp_path / f"made_{name}", **more)
        warnings = prepare_chest_xray(xrays, tmp_path / name, synthetic=made).warnings
        found = [text for text in warnings if "generator" in text]
        assert [words in text for text in found] == ([] if words is None else [True])
        assert all(text.split(":")[0] in (tmp_path / name / "report.md").read_text() for text in found)


def test_from_the_command_line(xrays: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "prepare", "chest_xray", "--raw", str(xrays), "--out", str(tmp_path / "out")]
    assert main([*words, "--synthetic", str(made), "--synthetic-share", "0.5"]) == 0
    assert sum(bool(item.get("synthetic")) for item in load_datalist(tmp_path / "out")["training"]) > 0
    words = ["data", "prepare", "pairs", "--raw", str(xrays), "--out", str(tmp_path / "pairs")]
    assert main([*words, "--synthetic", str(made)]) != 0
    assert "there is no --synthetic for this dataset" in capsys.readouterr().err
