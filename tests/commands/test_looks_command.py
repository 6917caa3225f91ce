"""``looks``: fits what a bundle's images look like and says how often others are told from them; inference obeys."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.__main__ import main

SKIN = "skin_lesion_segmentation"


@pytest.fixture(scope="module")
def place(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that knows no images yet, phantoms to fit, and pictures of stripes."""
    folder = tmp_path_factory.mktemp("looks")
    shutil.copytree(
        project / "bundles" / SKIN,
        folder / "bundles" / SKIN,
        ignore=shutil.ignore_patterns("looks.safetensors", "eval"),
    )
    assert main(["data", "phantom", "isic2016", "--out", str(folder / "data"), "--cases", "40", "--size", "64"]) == 0
    (folder / "others").mkdir()
    for number in range(4):
        waves = 127 + 120 * np.sin(np.arange(96) * (0.5 + 0.1 * number))
        Image.fromarray(np.tile(waves.astype(np.uint8), (80, 1))).convert("RGB").save(
            folder / "others" / f"{number}.png"
        )
    return folder


def test_own_images_pass_and_others_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["looks", SKIN, "--bundles", str(place / "bundles"), "--data", str(place / "data")]
    other = f"stripes={place / 'others'}"
    assert main([*words, "--other", other]) == 0
    said = capsys.readouterr().out
    own = re.search(r"\| data, kept aside \| own \| (\d+) \| 0.0 % .*? \| ([\d.]+) % ", said)
    assert own is not None
    assert float(own[2]) <= 10, said
    assert re.search(r"\| stripes \| other \| 4 \| 0.0 % .*? \| 100.0 % \(39.8 to 100.0\)", said), said
    card = place / "bundles" / SKIN / "docs" / "model_card.md"
    assert "| stripes | other | 4 |" in card.read_text(), "the rates stand in the card"
    file = place / "bundles" / SKIN / "configs" / "looks.safetensors"
    before = file.read_bytes()
    assert main([*words, "--other", other, "--measure"]) == 0
    assert capsys.readouterr().out.split("\n\n")[-2] == said.split("\n\n")[-2]
    assert file.read_bytes() == before, "measuring fits nothing"

    bundle, out = str(place / "bundles" / SKIN), place / "out"
    stripes = str(place / "others" / "0.png")
    assert main(["predict", bundle, stripes, "--out", str(out)]) == 11
    assert "unlike every image that the bundle was trained on" in capsys.readouterr().err
    assert not list(out.glob("*_report.json"))
    assert main(["predict", bundle, stripes, "--out", str(out), "--unlike", "note"]) == 0
    report = json.loads((out / "0_report.json").read_text())
    assert report["unlike_training"] >= 1.2
    assert report["doubt"].startswith("unlike the images of the training")
    assert "unlike the images of the training" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--other", "stripes"], 2, "is not NAME=DIR"),
        (["--also", "stripes={}/others"], 18, "4 images of 4 patients are too few to say what stripes looks like"),
        (["--own", "nothing={}/nothing"], 10, "nothing"),
    ],
)
def test_a_fault_is_a_line(
    words: list[str], code: int, says: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(place) for word in words]
    assert main(["looks", SKIN, "--bundles", str(place / "bundles"), "--data", str(place / "data"), *given]) == code
    assert says in capsys.readouterr().err


def test_a_generator_has_no_images_to_refuse(project: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["looks", str(project / "bundles" / "chest_xray_gan"), "--data", str(place / "data")]) == 2
    assert "looks" in capsys.readouterr().err
