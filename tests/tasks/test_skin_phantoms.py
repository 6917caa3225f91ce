from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import OutputError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.tasks.dermoscopy.phantoms import phantom_isic2016
from pipelines.tasks.dermoscopy.prepare import SKIN_LABELS, prepare_skin_lesions


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms") / "raw"
    assert phantom_isic2016(out, cases=8, size=80, seed=1, raw=True) == [f"phantom_{i:03d}" for i in range(8)]
    return out


def test_raw_phantoms_have_the_layout_of_isic(raw: Path) -> None:
    names = {
        part: sorted(p.stem for p in (raw / f"ISBI2016_ISIC_Part1_{part}_Data").iterdir())
        for part in ("Training", "Test")
    }
    assert [len(names[part]) for part in ("Training", "Test")] == [6, 2]
    marks = json.loads((raw / "phantom.json").read_text())
    assert marks["phantom"] is True
    for part, words in (("Training", ("benign", "malignant")), ("Test", ("0.0", "1.0"))):
        lines = (raw / f"ISBI2016_ISIC_Part3_{part}_GroundTruth.csv").read_text().splitlines()
        expected = [f"{n},{words[marks['cases'][n]['diagnosis'] == 'malignant']}" for n in names[part]]
        assert sorted(lines) == expected
        for name in names[part]:
            picture = Image.open(raw / f"ISBI2016_ISIC_Part1_{part}_Data" / f"{name}.jpg")
            mask = Image.open(raw / f"ISBI2016_ISIC_Part1_{part}_GroundTruth" / f"{name}_Segmentation.png")
            assert picture.size == mask.size == (80, 60)
            assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3  # 4:4:4
            assert set(np.unique(np.asarray(mask))) == {0, 255}
            share = marks["cases"][name]["lesion_share"]
            assert (np.asarray(mask) > 0).mean() == pytest.approx(share, abs=1e-6)


def test_prepared_phantoms_are_those_of_the_raw_ones(raw: Path, tmp_path: Path) -> None:
    phantom_isic2016(tmp_path / "a", cases=8, size=80, seed=1)
    prepare_skin_lesions("isic2016", raw, tmp_path / "b", seed=1)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    content = load_datalist(tmp_path / "a", verify=True, labels=SKIN_LABELS)
    assert (content["name"], content["phantom"]) == ("isic2016_phantom", True)
    assert [len(content[section]) for section in SECTIONS] == [5, 1, 2]
    assert "These are phantoms" in (tmp_path / "a" / "report.md").read_text()
    for section in SECTIONS:
        for item in content[section]:
            assert np.asarray(Image.open(item["label"])).any()
            assert item["diagnosis"] in ("benign", "malignant")


def test_the_seed_decides(raw: Path, tmp_path: Path) -> None:
    phantom_isic2016(tmp_path / "again", cases=8, size=80, seed=1, raw=True)
    assert everything(tmp_path / "again") == everything(raw)
    phantom_isic2016(tmp_path / "other", cases=1, size=80, seed=2, raw=True)
    name = "ISBI2016_ISIC_Part1_Training_Data/phantom_000.jpg"
    assert (tmp_path / "other" / name).read_bytes() != (raw / name).read_bytes()


def test_three_phantoms_fill_three_splits(tmp_path: Path) -> None:
    phantom_isic2016(tmp_path / "out", cases=3, size=80)
    content = load_datalist(tmp_path / "out")
    assert [len(content[section]) for section in SECTIONS] == [1, 1, 1]


def test_phantoms_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few cases"):
        phantom_isic2016(tmp_path / "out", cases=2)
    with pytest.raises(UsageError, match="at least 64"):
        phantom_isic2016(tmp_path / "out", size=63)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="not written by this command"):
        phantom_isic2016(tmp_path / "mine", cases=3, size=80, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
