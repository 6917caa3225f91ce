"""``confidence``: what a mask's certainty comes to, measured on true ones; ``--min-confidence`` refers by it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipelines.__main__ import main
from pipelines.transforms.mask_confidence import Curve, ExtentInterval, MaskConfidence, read_confidence
from pipelines.weights import weights_digest

SKIN, CT = "skin_lesion_segmentation", "covid_ct_lesion_segmentation"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The skin bundle, whose masks nobody measured, and phantoms: each its own patient."""
    folder = tmp_path_factory.mktemp("confidence")
    left = shutil.ignore_patterns("*.confidence.json", "confidence.json", "eval")
    shutil.copytree(project / "bundles" / SKIN, folder / "bundles" / SKIN, ignore=left)
    words = ["--cases", "40", "--size", "64"]
    assert main(["data", "phantom", "isic2016", "--out", str(folder / "data"), *words]) == 0
    return folder


def test_it_is_measured_written_and_obeyed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, data, out = place / "bundles" / SKIN, place / "data", place / "out"
    cases = json.loads((data / "datalist.json").read_text())["training"]
    picture = str(data / cases[0]["image"])
    predict = ["predict", str(bundle), picture, "--out", str(out), "--unlike", "note", "--fast"]
    assert main([*predict, "--min-confidence", "0.5"]) != 0
    assert "python -m pipelines confidence" in capsys.readouterr().err, "nobody measured it yet"

    assert (
        main(["confidence", str(bundle), "--data", str(data), "--split", "training", "--note", "phantoms of a test"])
        == 0
    )
    said = capsys.readouterr().out
    known = read_confidence(bundle / "models" / "skips.safetensors")
    assert known is not None
    assert known.labels["lesion"].items == known.labels["lesion"].patients >= 20
    assert f"| lesion: Dice above 0.7 | {known.labels['lesion'].items} |" in said
    card = (bundle / "docs" / "model_card.md").read_text()
    assert "How far can a mask be trusted?" in card
    assert "phantoms of a test" in card

    assert main([*predict, "--min-confidence", "0"]) == 0
    report = json.loads(next(out.glob("*_report.json")).read_text())
    lesion = report["confidence"]["labels"]["lesion"]
    assert lesion["probability"] == pytest.approx(known.labels["lesion"].probability(lesion["certainty"]), abs=0.002)
    assert report["refer"] is False
    assert report["figures"][-1]["key"] == ["confidence", "labels", "lesion", "probability"]
    assert f"{100 * lesion['probability']:.1f} %" in (out / "index.html").read_text(), "the page shows it"
    assert report["confidence"]["parts"][0]["voxels"] == report["area_px"], "the lesion is one body"
    assert main([*predict, "--min-confidence", "1"]) == 0
    report = json.loads(next(out.glob("*_report.json")).read_text())
    assert report["refer"] is True
    assert "probability" in report["reason"]
    assert "to be seen by a person" in (out / "index.html").read_text()
    assert main([*predict, "--min-confidence", "2"]) != 0
    assert "0 to 1" in capsys.readouterr().err


def test_what_folds_measured_is_fitted_together(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, kept = str(place / "bundles" / SKIN), [place / "kept" / name for name in ("a", "b")]
    weights = str(place / "bundles" / SKIN / "models" / "skips.safetensors")
    measure = ["confidence", bundle, "--data", str(place / "data"), "--checkpoint", weights]
    assert main(measure) == 2
    assert "--keep" in capsys.readouterr().err
    for folder, split in zip(kept, ("test", "training"), strict=True):
        assert main([*measure, "--keep", str(folder), "--split", split, "--every", "1"]) == 0
    counts = [len(json.loads((folder / "masks_measured.json").read_text())["masks"]) for folder in kept]
    assert main(["confidence", bundle, "--measured", *map(str, kept)]) == 0
    assert f"| lesion: Dice above 0.7 | {sum(counts)} |" in capsys.readouterr().out
    (kept[0] / "masks_measured.json").write_text("{")
    assert main(["confidence", bundle, "--measured", *map(str, kept)]) == 10
    assert "masks_measured.json" in capsys.readouterr().err


def test_what_a_folds_weights_were_trained_on_is_not_measured(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cross-validation with extra data trains on the fold's validation part: it was measured once, and believed."""
    fold = place / "fold0"
    shutil.copytree(place / "data", fold / "data")
    shutil.copy(place / "bundles" / SKIN / "models" / "skips.safetensors", fold / "model.safetensors")
    listed = json.loads((fold / "data" / "datalist.json").read_text())
    listed["training"] += listed["validation"][:-1]
    listed["validation"] = listed["validation"][-1:]
    (fold / "data" / "datalist.json").write_text(json.dumps(listed))
    words = [
        "confidence",
        str(place / "bundles" / SKIN),
        "--data",
        str(place / "data"),
        "--keep",
        str(place / "of_fold"),
    ]
    words += ["--checkpoint", str(fold / "model.safetensors"), "--every", "4"]
    assert main([*words, "--split", "validation"]) != 0
    said = capsys.readouterr().err
    assert "trained on the patients of" in said
    assert not (place / "of_fold" / "masks_measured.json").exists()
    assert main([*words, "--split", "test"]) == 0


def test_the_extent_of_a_scan_gets_the_interval_that_was_measured(project: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundles" / CT
    left = shutil.ignore_patterns("*.confidence.json", "encoder_unet.safetensors", "eval")
    shutil.copytree(project / "bundles" / CT, bundle, ignore=left)
    weights = bundle / "models" / "tiny_unet.safetensors"
    curve = Curve(1.0, 0.0, 100, 10, 0.5, 0.1, 0.02, 0.9)
    extent = ExtentInterval(0.9, 0.5, 0.02, 100, 10, 0.93, 0.1)
    MaskConfidence(weights_digest(weights), 0.7, {"lesion": curve, "lung": curve}, curve, extent).write(
        weights.with_suffix(".confidence.json")
    )
    words = ["--cases", "1", "--size", "96", "--slices", "8", "--validation", "0", "--test", "0", "--seed", "5"]
    assert main(["data", "phantom", "covid_ct", "--raw", "--out", str(tmp_path / "raw"), *words]) == 0
    scan = next(path for path in sorted((tmp_path / "raw").rglob("*.nii.gz")) if "mask" not in str(path))
    out = tmp_path / "out"
    words = ["--network", "tiny_unet", "--overlay", "severity", "--unlike", "note", "--runtime", "eager"]
    assert main(["predict", str(bundle), str(scan), "--out", str(out), *words]) == 0
    report = json.loads(next(out.glob("*_report.json")).read_text())
    said = report["confidence"]
    assert said["centres"] == "RAS mm"
    assert set(said["labels"]) == {"lung", "lesion"}
    assert 0.5 < said["labels"]["lung"]["certainty"] <= 1
    severity = report["severity"]
    assert severity["extent"] is not None
    low, high = extent.around(severity["extent"])
    assert (severity["extent_low"], severity["extent_high"]) == pytest.approx((low, high), abs=0.01)
    assert "93 % of slices of 10 patients left out" in severity["interval"]
    interval = report["extent_interval"]
    assert (interval["low"], interval["high"]) == pytest.approx(extent.around(report["extent"]), abs=0.001)
    sizes = [part["voxels"] for part in said["parts"]]
    assert sizes == sorted(sizes, reverse=True)
    assert all(np.isfinite(part["centre"]).all() and 0 < part["certainty"] <= 1 for part in said["parts"])
