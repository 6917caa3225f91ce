"""Slices as items: each rated one once, rare classes as often as others, the same after a restart."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad, RandFlipd, RandGaussianNoised

from pipelines.datasets import RatedSlices, class_weights, files, slice_sampler, slice_weights
from pipelines.errors import ConfigError, DatalistError
from pipelines.tasks.lung_ct.phantom import make_lung_phantom, plan_extents
from pipelines.tasks.lung_ct.prepare import phantom_covid_ct
from pipelines.tasks.lung_ct.severity import SCALES, slice_counts, slice_extents
from pipelines.tasks.lung_ct.transforms import SeverityLabeld
from pipelines.transforms import LoadCTd, LoadLabeld

SCALE = SCALES["normal_mild_severe"]


def cases() -> list[dict]:
    """Two cases of 3 and 2 slices; slice z of case c is all ``10 * c + z``."""
    labels = [torch.tensor([0, -1, 1]), torch.tensor([0, 2])]
    images = [torch.arange(n).expand(1, 4, 4, n).float() + 10 * c for c, n in enumerate((3, 2))]
    return [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]


def dataset(*steps) -> RatedSlices:
    return RatedSlices(cases(), Compose([Lambdad("image", lambda x: x), *steps]))


def test_each_rated_slice_is_an_item():
    found = dataset()
    assert [(item["image"][0, 0, 0].item(), item["label"]) for item in found] == [(0, 0), (2, 1), (10, 0), (11, 2)]
    assert found[0]["image"].shape == (1, 4, 4)
    assert found[0]["image"].dtype == torch.float32
    assert found.labels.tolist() == [0, 1, 0, 2]


def test_what_is_random_runs_each_time_and_obeys_the_seed_of_the_transform():
    noise = RandGaussianNoised("image", prob=1.0)
    found = dataset(noise, RandFlipd("image"))
    assert not torch.equal(found[0]["image"], found[0]["image"])
    again = []
    for _ in range(2):
        found.transform.set_random_state(seed=5)
        again.append(found[1]["image"])
    assert torch.equal(*again)


def test_no_rated_slice_is_a_fault():
    nothing = [{"image": torch.zeros(1, 4, 4, 2), "label": torch.tensor([-1, -1])}]
    with pytest.raises(DatalistError, match="no slice"):
        RatedSlices(nothing, Compose([Lambdad("image", lambda x: x)]))


def test_balancing():
    found = dataset()
    assert slice_weights(found.labels).tolist() == [0.5, 1, 0.5, 1]
    drawn = np.bincount([found.labels[i] for _ in range(600) for i in slice_sampler(found, "sampling")], minlength=3)
    assert drawn / drawn.sum() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert slice_sampler(found, "loss") is None
    assert len(slice_sampler(found, "sampling", draws=7)) == 7
    for words in (("sampling", 0), ("loss", 7)):
        with pytest.raises(ConfigError, match="draws"):
            slice_sampler(found, *words)
    assert class_weights(found, "loss", 4).tolist() == pytest.approx([4 / 6, 4 / 3, 4 / 3, 0])
    assert class_weights(found, "none", 3) is None
    for function in (lambda: slice_sampler(found, "both"), lambda: class_weights(found, "both", 3)):
        with pytest.raises(ConfigError, match="sampling, loss, none"):
            function()


def test_prepared_data_carry_the_labels_that_the_transform_makes(tmp_path):
    phantom_covid_ct(tmp_path / "data", cases=6, size=64, slices=10, seed=2)
    content = json.loads((tmp_path / "data" / "datalist.json").read_text())
    assert content["severity_scale"]["thresholds"] == [0.001, 0.25]
    transform = Compose([LoadCTd("image"), LoadLabeld("label"), SeverityLabeld("label")])
    kinds = set()
    for section in ("training", "validation", "test"):
        number = content["counts"][section]["severity_slices"]
        for item, listed in zip(content[section], files(tmp_path / "data", "datalist.json", section), strict=True):
            labels = transform(dict(listed))["label"].tolist()
            said = [-1 if name is None else SCALE.names.index(name) for name in item["slice_severity"]]
            assert said == labels
            assert item["severity"] == SCALE.name(item["extent"])
            kinds.add(item["severity"])
        rated = sum(name is not None for item in content[section] for name in item["slice_severity"])
        assert sum(number[name] for name in SCALE.names) == rated
        assert content["counts"][section]["severity_cases"]["unrated"] == 0
    assert kinds == {"normal", "mild", "severe"}
    assert "normal < 0.1 %" in (tmp_path / "data" / "report.md").read_text()
    item = files(tmp_path / "data", "datalist.json", "test")[0]
    assert set(item) == {"image", "label", "patient", "case", "lung", "source", "form"}


def test_phantoms_have_the_classes_in_about_the_reference_proportions():
    """1,441 : 1,954 : 159 slices, which is 41 : 55 : 4 in a hundred."""
    number = np.zeros(3)
    for seed, extent in enumerate(plan_extents(30, 4)):
        label = make_lung_phantom(seed, size=48, slices=16, extent=extent).label
        extents = slice_extents(*slice_counts(label), 48 * 48)
        number += np.bincount([SCALE.index(e) for e in extents[~np.isnan(extents)]], minlength=3)
    share = number / number.sum()
    assert share == pytest.approx([0.41, 0.55, 0.04], abs=0.1)
    assert share[2] > 0.02
