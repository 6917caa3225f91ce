"""Severity labels from masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.errors import ConfigError
from pipelines.tasks.lung_ct.severity import UNRATED
from pipelines.tasks.lung_ct.transforms import SeverityLabeld


def mask() -> np.ndarray:
    """Five slices of 20 x 20: abdomen without lung, healthy, mild, all lesion, one lung that is half lesion."""
    label = np.zeros((1, 20, 20, 5), np.uint8)
    label[0, 2:8, 4:16, 1:4] = label[0, 12:18, 4:16, 1:4] = 1
    label[0, 2:4, 4:8, 2] = 2
    label[0][label[0, :, :, 3] > 0, 3] = 2
    label[0, 2:8, 4:16, 4] = 1
    label[0, 2:5, 4:16, 4] = 2
    return label


def test_each_slice_gets_its_class():
    found = SeverityLabeld("label")({"label": torch.from_numpy(mask())})["label"]
    assert found.dtype == torch.int64
    assert found.tolist() == [UNRATED, 0, 1, 2, 2]


def test_thresholds_are_configuration():
    found = SeverityLabeld("label", thresholds=[0, 0.25, 0.5, 0.75])({"label": mask()})["label"]
    assert found.tolist() == [UNRATED, 0, 1, 4, 3]
    with pytest.raises(ConfigError):
        SeverityLabeld("label", thresholds=[0.5, 0.1])


def test_a_slice_without_its_last_axis_is_one():
    assert SeverityLabeld("label")({"label": mask()[..., 2]})["label"].tolist() == [1]


def test_below_the_floor_it_refuses_to_divide():
    with np.errstate(all="raise"):
        assert SeverityLabeld("label")({"label": mask()[..., :1]})["label"].tolist() == [UNRATED]
    assert SeverityLabeld("label", floor_share=0.3)({"label": mask()})["label"].tolist() == [-1, 0, 1, 2, -1]
