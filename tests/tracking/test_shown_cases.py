"""Pictures of validation's cases: outlines where the label lies, whatever was done to the image; classes in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, CropForegroundd, Orientationd

from pipelines.evaluation import class_pictures, pictures
from pipelines.tracking import shown_cases
from pipelines.tracking.shown_cases import case_name, shown_case

NAMES = {0: "background", 1: "organ", 2: "finding"}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is handed to the drawing; it is drawn as well."""
    found: list[Any] = []
    for name, draw in (("draw_cases", pictures.draw_cases), ("draw_slices", class_pictures.draw_slices)):

        def keep(given: Any, *rest: Any, draw: Any = draw) -> None:
            found.extend(given)
            draw(given, *rest)

        monkeypatch.setattr(shown_cases, name, keep)
    return found


def volume() -> dict[str, MetaTensor]:
    """An image that is 10 where the finding is, with its axes turned."""
    label = torch.zeros(1, 20, 16, 9)
    label[:, 4:12, 5:14, 1:8] = 1
    label[:, 6:9, 6:8, 5] = 2
    image = label.clone()
    image[label == 2] = 10
    affine = torch.tensor(np.diag([-0.7, 0.7, 2.5, 1.0])[[1, 0, 2, 3]])
    return {
        "image": MetaTensor(image, affine=affine, meta={"kind": "volume", "filename_or_obj": "/data/scan.nii.gz"}),
        "label": MetaTensor(label, affine=affine),
    }


def test_outlines_lie_on_an_image_that_was_turned_and_cropped(drawn: list[Any]) -> None:
    item = volume()
    steps = [Orientationd(keys="image", axcodes="LPS", labels=None), CropForegroundd(keys="image", source_key="image")]
    item = dict(Compose(steps)(item))
    assert item["image"].shape != item["label"].shape
    item["pred"] = item["label"].clone()
    item["pred"][item["label"] == 2] = 1
    picture = shown_case(item, "scan", NAMES)
    assert picture is not None
    assert picture.ndim == 3
    (case,) = drawn
    assert (case.case, case.dice, case.classes) == ("scan", 0.0, {1: "organ", 2: "finding"})
    assert (case.label == 2).sum() == 6, "the slice with most of the finding"
    assert (case.prediction == 2).sum() == 0
    bright = case.image > 200
    assert np.array_equal(bright, case.label == 2), "and the image under it"


def test_a_large_picture_in_colour_is_thinned(drawn: list[Any]) -> None:
    label = torch.zeros(1, 1300, 900)
    label[:, 100:400] = 1
    image = torch.cat([label, 0 * label, 0 * label])
    assert shown_case({"image": image, "label": label, "pred": label}, "mole", {0: "no", 1: "yes"}) is not None
    (case,) = drawn
    assert case.image.shape == (300, 434, 3)
    assert case.dice == 1
    assert np.array_equal(case.image[..., 0] == 255, case.label == 1)


def test_a_picture_has_its_classes(drawn: list[Any]) -> None:
    item = {"image": torch.rand(1, 30, 20), "label": 1, "pred": torch.tensor([0.75, 0.25, 0.0])}
    assert shown_case(item, "chest", NAMES) is not None
    (picture,) = drawn
    assert picture.title == "chest\ntrue organ\npredicted background 0.75"
    assert picture.image.shape == (20, 30)


def test_of_slices_the_first_of_the_highest_class_is_shown(drawn: list[Any]) -> None:
    image = torch.rand(1, 8, 8, 4)
    item = {"image": image, "label": torch.tensor([0, -1, 2, 2]), "pred": torch.eye(3)[:, [0, 1, 2, 0]]}
    shown_case(item, "scan", NAMES)
    assert drawn[0].title == "scan, slice 2\ntrue finding\npredicted finding 1.00"


def test_other_forms_have_no_picture() -> None:
    image, label = torch.rand(1, 8, 8), torch.zeros(1, 8, 8)
    for item in (
        {"image": image, "pred": label},
        {"image": image, "label": label, "pred": torch.rand(1, 4, 4)},
        {"image": torch.rand(5), "label": 1, "pred": torch.rand(2)},
        {"image": image, "label": torch.tensor([-1]), "pred": torch.rand(3, 1)},
        {"label": label, "pred": label},
    ):
        assert shown_case(item, "x", NAMES) is None
    assert shown_case({"image": image, "label": label, "pred": label}, "x", {}) is None


def test_names_of_cases() -> None:
    assert case_name({"case": "patient_7"}, 0) == "patient_7"
    assert case_name(volume(), 0) == Path("/data/scan.nii.gz").name
    assert case_name({"image": torch.rand(1, 2, 2)}, 3) == "case 3"
