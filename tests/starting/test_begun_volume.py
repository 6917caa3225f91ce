"""A begun bundle of volumes answers: what ``new`` writes for pictures is tried in test_your_own_pictures.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from pipelines.__main__ import main
from pipelines.transforms.mask_confidence import read_confidence
from pipelines.weights import save_weights

NAMES = ("core", "edema")


@pytest.mark.slow
@pytest.mark.parametrize("names", [NAMES, NAMES[:1]], ids=["several labels", "one label"])
def test_it_predicts_and_says_how_sure_it_is(names: tuple[str, ...], tmp_path: Path) -> None:
    drawn = ["--dims", "3", "--labels", "background", *names, "--size", "32", "--cases", "36"]
    assert main(["data", "phantom", "pairs", *drawn, "--out", str(tmp_path / "data")]) == 0
    own = ["--like", "volume_segmentation", "--labels", *names, "--out", str(tmp_path)]
    assert main(["new", "brain_segmentation", *own]) == 0
    bundle = tmp_path / "bundles" / "brain_segmentation"
    config = ConfigParser.load_config_file(bundle / "configs" / "inference.yaml")
    text = (bundle / "configs" / "inference.yaml").read_text()
    written = f"roi_size: {config['roi_size']}"
    assert written in text
    (bundle / "configs" / "inference.yaml").write_text(text.replace(written, "roi_size: [16, 16, 16]"))  # takes seconds
    torch.manual_seed(0)
    network = ConfigParser(config).get_parsed_content("network_def")
    weights = bundle / "models" / f"{config['network_name']}.safetensors"
    save_weights(network, weights)

    cases = json.loads((tmp_path / "data" / "datalist.json").read_text())["training"]
    scan = str(tmp_path / "data" / cases[0]["image"])
    predict = ["predict", str(bundle), scan, "--out", str(tmp_path / "out")]
    assert main(predict) == 0
    report = json.loads(next((tmp_path / "out").glob("*_report.json")).read_text())
    assert set(report["confidence"]["labels"]) == set(names)
    certainties = [each["certainty"] for each in report["confidence"]["labels"].values()]
    assert all(each is None or 0 < each < 1 for each in certainties)
    assert np.any([each is not None for each in certainties]), "random weights find something"
    assert report["confidence"]["parts_of"] == names[-1]

    measure = ["confidence", str(bundle), "--data", str(tmp_path / "data"), "--split", "training"]
    assert main(measure) == 0
    known = read_confidence(weights)
    assert known is not None
    assert main([*predict, "--min-confidence", "1"]) == 0
    report = json.loads(next((tmp_path / "out").glob("*_report.json")).read_text())
    assert report["refer"] is True
