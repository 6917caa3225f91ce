"""Phantoms of no organ: the same for the same seed, of every orientation, and good enough to try a bundle on."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipelines.errors import OutputError, UsageError
from pipelines.preparation.datalist import load_datalist
from pipelines.tasks.general.phantoms import phantom_classes, phantom_pairs


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_volumes_are_stored_as_scanners_store_them(tmp_path: Path) -> None:
    names = phantom_pairs(tmp_path / "a", cases=6, size=32, raw=True)
    codes, grids = set(), set()
    for name in names:
        image, label = (nib.load(tmp_path / "a" / kind / f"{name}.nii.gz") for kind in ("images", "masks"))
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        codes.add(nib.aff2axcodes(image.affine))
        grids.add((image.shape, tuple(np.round(image.header.get_zooms(), 3))))
        zooms = sorted(image.header.get_zooms())
        assert zooms[2] > 1.7 * zooms[1]  # thick slices
        values, labels = np.asarray(image.dataobj), np.asarray(label.dataobj)
        assert np.unique(labels).tolist() == [0, 1, 2]
        ground, organ, lesion = (float(values[labels == value].mean()) for value in range(3))
        assert lesion + 60 < ground < organ - 100
        assert values[labels == 0].std() > 20
        # the lesion lies within the organ
        assert (labels == 2).sum() < 0.2 * (labels == 1).sum()
    assert len(codes) == 6
    assert len(grids) == 6
    marks = json.loads((tmp_path / "a" / "phantom.json").read_text())["cases"]
    assert marks[names[-1]]["organ"] == pytest.approx(float((labels == 1).mean()), abs=1e-6)


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        phantom_pairs(tmp_path / name / "pairs", dims=2, cases=2, size=48, seed=seed, raw=True)
        phantom_classes(tmp_path / name / "classes", classes=3, cases=3, size=48, seed=seed, raw=True)
    first, again, other = (contents(tmp_path / name) for name in ("a", "b", "c"))
    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())
    assert {name.split("/")[1] for name in first if name.startswith("classes")} == {"bar", "disc", "ring"}


def test_prepared_ones_say_that_they_are_phantoms(tmp_path: Path) -> None:
    phantom_pairs(tmp_path / "p", cases=3, size=32, folds=0)
    phantom_pairs(tmp_path / "q", dims=2, cases=8, size=48, seed=3, folds=3)
    phantom_classes(tmp_path / "c", cases=6, size=48)
    assert load_datalist(tmp_path / "p", verify=True)["phantom"] is True
    content = load_datalist(tmp_path / "q", "datalist_fold2.json", labels={0: "background", 1: "organ", 2: "lesion"})
    assert (content["phantom"], content["split"]["seed"]) == (True, 3)
    assert load_datalist(tmp_path / "c", classes={0: "bar", 1: "disc"})["phantom"] is True
    assert Image.open(tmp_path / "c" / "contact_sheet.png").width > 500


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="2 or 3 dimensions"):
        phantom_pairs(out, dims=4)
    with pytest.raises(UsageError, match=r"too small; ask for a --size of at least 32"):
        phantom_pairs(out, size=16)
    with pytest.raises(UsageError, match=r"at least 3 \(1 with --raw\)"):
        phantom_pairs(out, cases=2)
    with pytest.raises(UsageError, match=r"at least 9 \(1 with --raw\)"):
        phantom_classes(out, classes=3, cases=8)
    with pytest.raises(UsageError, match="2 to 3 classes"):
        phantom_classes(out, classes=4)
    out.mkdir()
    (out / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="was not written by this command"):
        phantom_classes(out, force=True)
