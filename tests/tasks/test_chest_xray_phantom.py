"""Drawn chest X-rays, alone and on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import OutputError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.preparation.sections import SECTIONS
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.tasks.chest_xray.phantoms import phantom_chest_xray
from pipelines.tasks.chest_xray.prepare import prepare_chest_xray
from pipelines.tasks.chest_xray.source import XRAY_CLASSES

SIZE = 96


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_pneumonia_is_the_only_difference_between_the_classes() -> None:
    for seed in range(6):
        ill, well = (make_chest_xray_phantom(seed, SIZE, pneumonia) for pneumonia in (True, False))
        assert (well.subtype, well.opacity.any()) == (None, False)
        assert ill.subtype in ("bacteria", "virus")
        np.testing.assert_array_equal(ill.lungs, well.lungs)
        change = ill.picture.astype(int) - well.picture
        assert change[ill.opacity].mean() > 12  # brighter where the opacity is
        assert np.abs(change[~ill.lungs]).mean() < 4  # scatter only
        assert 0.04 <= ill.opacity.sum() / ill.lungs.sum() <= 0.9
        assert not (ill.opacity & ~ill.lungs).any()


def test_a_virus_is_on_both_sides() -> None:
    seen = set()
    for seed in range(12):
        phantom = make_chest_xray_phantom(seed, SIZE, True)
        seen.add(phantom.subtype)
        if phantom.subtype == "virus":
            columns = np.flatnonzero(phantom.lungs.any(axis=0))
            middle = int(columns.mean())
            left, right = phantom.opacity[:, :middle].sum(), phantom.opacity[:, middle:].sum()
            assert min(left, right) > 0.15 * max(left, right)
    assert seen == {"bacteria", "virus"}


def test_lungs_are_dark_and_two_and_the_picture_uses_its_range() -> None:
    for seed in range(8):
        phantom = make_chest_xray_phantom(seed, SIZE, False)
        assert phantom.picture.shape == phantom.lungs.shape == (SIZE, SIZE)
        assert phantom.picture.dtype == np.uint8
        assert 0.08 < phantom.lungs.mean() < 0.5
        middle = phantom.lungs[SIZE // 2]
        assert (np.diff(middle.astype(int)) == 1).sum() + middle[0] == 2
        heart = phantom.picture[SIZE // 2, np.flatnonzero(middle)[0] : np.flatnonzero(middle)[-1]]
        assert phantom.picture[phantom.lungs].mean() < heart.max() - 60
        assert np.ptp(phantom.picture.astype(int)) > 150


def test_the_same_seed_draws_the_same_and_a_view_another_picture_of_the_child() -> None:
    first, again = (make_chest_xray_phantom(3, SIZE, True) for _ in range(2))
    np.testing.assert_array_equal(first.picture, again.picture)
    np.testing.assert_array_equal(first.opacity, again.opacity)
    other = make_chest_xray_phantom(3, SIZE, True, view=1)
    assert other.subtype == first.subtype
    assert (other.picture != first.picture).mean() > 0.5
    assert (make_chest_xray_phantom(4, SIZE, True).picture != first.picture).mean() > 0.5


@pytest.mark.parametrize(("seed", "size", "view"), [(0, 31, 0), (-1, 64, 0), (0, 64, -1)])
def test_phantoms_that_cannot_be_drawn(seed: int, size: int, view: int) -> None:
    with pytest.raises(UsageError, match="at least 32 pixels"):
        make_chest_xray_phantom(seed, size, True, view)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms") / "raw"
    assert len(phantom_chest_xray(out, cases=60, size=32, seed=1, raw=True)) == 60
    return out


def test_raw_phantoms_have_the_folders_names_and_numbers_of_the_real_set(raw: Path) -> None:
    found = {folder: sorted((raw / folder).glob("*/*.jpeg")) for folder in ("train", "val", "test")}
    assert {folder: len(paths) for folder, paths in found.items()} == {"train": 43, "val": 2, "test": 15}
    ill = {folder: sum(p.parent.name == "PNEUMONIA" for p in paths) for folder, paths in found.items()}
    assert ill == {"train": 32, "val": 1, "test": 9}
    marks = json.loads((raw / "phantom.json").read_text())
    assert marks["phantom"] is True
    patients: dict[str, list[str]] = {}
    for folder, paths in found.items():
        for path in paths:
            picture = Image.open(path)
            assert (picture.mode, picture.size, picture.format) == ("L", (32, 32), "JPEG")
            mark = marks["cases"][f"{folder}/{path.parent.name}/{path.stem}"]
            assert mark["pneumonia"] == (path.parent.name == "PNEUMONIA") == (mark["opacity_share"] > 0)
            pattern = rf"(person\d+)_{mark['subtype']}_\d+" if mark["pneumonia"] else r"(IM-\d{4})-\d{4}"
            match = re.fullmatch(pattern, path.stem)
            assert match, path.stem
            patients.setdefault(f"{folder}/{match[1]}", []).append(path.stem)
    assert max(map(len, patients.values())) > 1
    assert "train/person1" in patients
    assert "test/person1" in patients


def test_prepared_phantoms_are_those_of_the_raw_ones(tmp_path: Path) -> None:
    phantom_chest_xray(tmp_path / "raw", cases=8, size=48, seed=1, raw=True)
    phantom_chest_xray(tmp_path / "a", cases=8, size=48, seed=1)
    prepare_chest_xray(tmp_path / "raw", tmp_path / "b", seed=1)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    content = load_datalist(tmp_path / "a", verify=True, classes=XRAY_CLASSES)
    assert (content["name"], content["phantom"]) == ("chest_xray_phantom", True)
    assert "These are phantoms" in (tmp_path / "a" / "report.md").read_text()


@pytest.mark.parametrize("cases", [6, 7, 8, 12, 25])
def test_each_split_of_few_phantoms_has_both_classes(tmp_path: Path, cases: int) -> None:
    for seed in range(2):
        phantom_chest_xray(tmp_path / str(seed), cases=cases, size=32, seed=seed, folds=3 if cases >= 8 else 0)
        content = load_datalist(tmp_path / str(seed))
        assert sum(len(content[section]) for section in SECTIONS) == cases
        for section in SECTIONS:
            assert {item["label"] for item in content[section]} == {0, 1}


def test_options_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 6"):
        phantom_chest_xray(tmp_path / "out", cases=5)
    with pytest.raises(UsageError, match="at least 32"):
        phantom_chest_xray(tmp_path / "out", size=31)
    assert phantom_chest_xray(tmp_path / "one", cases=1, size=32, raw=True) != []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="not written by this command"):
        phantom_chest_xray(tmp_path / "mine", cases=6, size=32, force=True)
