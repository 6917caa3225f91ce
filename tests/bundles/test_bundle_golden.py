"""Shipped weights give today what they gave when this was written: one phantom, and three real pictures, a network.

``golden.json`` holds the pictures and the figures: pixels of each label, or probabilities. A change that moves them is
either a fault or meant; if it is meant, ``python tests/bundles/test_bundle_golden.py`` writes them anew (it wants the
real pictures), and the commit says why.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundle_under_test import BUNDLES, PROJECT, Bundle
from PIL import Image

from pipelines.__main__ import main
from pipelines.prediction import fast_options, predict
from pipelines.preparation.sections import SECTIONS

GOLDEN = Path(__file__).with_name("golden.json")
PHANTOM = "phantom"
# In float32, so that only the order of sums differs from machine to machine; what is one of a kind may then still flip
# at an edge.
SHARE, PIXELS, PROBABILITY = 0.005, 20, 0.003
pytestmark = pytest.mark.contract("supervised", "weights")


def shipped(bundle: Bundle) -> list[str]:
    """The networks that the bundle has weights of."""
    return [name for name in bundle.networks if name in bundle.shipped]


def draw(bundle: Bundle, folder: Path) -> Path:
    """A phantom of the bundle's dataset, large enough for its weights to mean something; of a volume six slices."""
    words = ["data", "phantom", bundle.dataset, "--out", str(folder / "drawn"), "--cases", "6", "--size", "192"]
    assert main([*words, "--seed", "5"]) == 0
    content = json.loads((folder / "drawn" / "datalist.json").read_text())
    last = max((item for part in SECTIONS for item in content[part]), key=lambda item: item["case"])
    source = folder / "drawn" / last["image"]
    if not source.name.endswith(".nii.gz"):
        return source.rename(folder / f"{PHANTOM}{source.suffix}")
    volume = nib.load(source)
    middle = volume.shape[2] // 2
    nib.save(volume.slicer[:, :, middle - 3 : middle + 3], folder / f"{PHANTOM}.nii.gz")
    return folder / f"{PHANTOM}.nii.gz"


def measure(bundle: Bundle, network: str, source: Path, out: Path) -> dict[str, float]:
    """What the weights make of a picture: pixels of each label, or the probability of each class."""
    options = fast_options(bundle.root) | {"device": torch.device("cpu"), "amp": False}
    ((outcome, _),) = predict(bundle.root, source, out, network=network, **options)
    assert outcome.status == "done", outcome.error
    if bundle.kind == "classification":
        report = json.loads(Path(str(outcome.report)).read_text())
        rows = report.get("slices", [report])
        return {
            f"{name} {number}": row["probabilities"][name]
            for number, row in enumerate(rows)
            for name in row["probabilities"] or ()
        }
    path = Path(str(outcome.mask))
    mask = np.asarray(nib.load(path).dataobj if path.name.endswith(".nii.gz") else Image.open(path))
    names = bundle.config("inference")["label_names"]
    return {name: int((mask == value).sum()) for value, name in names.items() if value}


def agree(found: dict[str, float], golden: dict[str, float], kind: str) -> bool:
    """Whether figures are the golden ones, within the tolerance of their kind."""
    if found.keys() != golden.keys():
        return False
    if kind == "classification":
        return all(abs(found[name] - golden[name]) <= PROBABILITY for name in golden)
    return all(abs(found[name] - golden[name]) <= SHARE * golden[name] + PIXELS for name in golden)


def golden(bundle: Bundle) -> dict[str, Any]:
    if not bundle.root.is_relative_to(PROJECT):
        pytest.skip("the bundle is none of this project's: its figures are not kept here")
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert bundle.name in content, f"{bundle.name} has no golden figures: python {GOLDEN.with_suffix('.py').name}"
    return content[bundle.name]


def test_every_shipped_network_has_golden_figures(bundle: Bundle) -> None:
    kept = golden(bundle)
    assert kept["figures"].keys() == set(shipped(bundle))
    for network, figures in kept["figures"].items():
        assert figures.keys() == {PHANTOM, *kept["pictures"]}, network
        assert len({str(values) for values in figures.values()}) == len(figures), (
            "pictures that are told apart by nothing"
        )


def test_the_network_of_the_plain_command_has_weights(bundle: Bundle) -> None:
    assert bundle.default in shipped(bundle), "`predict BUNDLE` without options would refuse"


def test_a_phantom(bundle: Bundle, tmp_path: Path) -> None:
    source = draw(bundle, tmp_path)
    for network in shipped(bundle):
        found = measure(bundle, network, source, tmp_path / network)
        assert agree(found, golden(bundle)["figures"][network][PHANTOM], bundle.kind), (network, found)


def test_real_pictures(bundle: Bundle, shared_data: Path, tmp_path: Path) -> None:
    kept = golden(bundle)
    for network in shipped(bundle):
        for picture in kept["pictures"]:
            found = measure(bundle, network, shared_data / picture, tmp_path / network)
            assert agree(found, kept["figures"][network][picture], bundle.kind), (network, picture, found)


def renew(shared: Path) -> None:
    """Writes ``golden.json`` anew, of the pictures that it names."""
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for bundle in (each for each in map(Bundle, BUNDLES) if each.name in content):
        kept = content[bundle.name]
        with tempfile.TemporaryDirectory() as folder:
            sources = {PHANTOM: draw(bundle, Path(folder)), **{name: shared / name for name in kept["pictures"]}}
            kept["figures"] = {
                network: {
                    name: measure(bundle, network, source, Path(folder) / network) for name, source in sources.items()
                }
                for network in shipped(bundle)
            }
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    renew(Path(os.environ.get("IMAGING_BUNDLES_SHARED", PROJECT.parent / "shared")) / "data")
    sys.exit(0)
