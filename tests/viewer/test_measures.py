"""What the page says of a mask is what the report of a prediction says."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.tasks.lung_ct.case_report import measure_case
from pipelines.tasks.lung_ct.severity import LUNG_FLOOR_ML, LUNG_FLOOR_SHARE, slice_counts, slice_extents
from pipelines.tasks.registry import PARTS
from pipelines.viewer.measures import measure

LUNG = {0: "background", 1: "lung", 2: "lesion"}


def test_the_registry_states_the_floors_of_the_task() -> None:
    assert (PARTS["lesion"].floor_share, PARTS["lesion"].floor_ml) == (LUNG_FLOOR_SHARE, LUNG_FLOOR_ML)


@pytest.mark.parametrize("spacing", [None, (0.7, 0.8, 5.0), (4.0, 4.0, 40.0), (0.1, 0.1, 0.1)])
@pytest.mark.parametrize("lung", [0, 1, 30, 400, 4000])
def test_extent_and_curve_are_those_of_the_report(spacing: tuple[float, float, float] | None, lung: int) -> None:
    rng = np.random.default_rng(lung)
    mask = np.zeros((40, 30, 8), dtype=np.uint8)
    mask.reshape(-1)[rng.choice(mask.size, lung, replace=False)] = rng.integers(1, 3, lung)
    found, report = measure(mask, LUNG, spacing), measure_case(mask, spacing)
    assert found["extent"] == report["extent"]
    lesion, both = slice_counts(mask)
    due = slice_extents(lesion, both, mask.shape[0] * mask.shape[1])
    given = [np.nan if value is None else value for value in found["curve"]["values"]]
    np.testing.assert_allclose(given, due, atol=1e-6)
    assert [each["title"] for each in found["labels"]] == ["lung without lesion", "lesion"]


def test_labels_of_another_task_are_measured_by_themselves() -> None:
    mask = np.zeros((10, 10, 2), dtype=np.uint8)
    mask[:5, :, 1] = 2
    found = measure(mask, {0: "background", 1: "liver", 2: "tumour"}, (1.0, 1.0, 1.0))
    assert found["extent"] is None
    assert found["curve"] == {"title": "tumour in slice, %", "of": 2, "values": [0.0, 0.5]}
    assert [each["title"] for each in found["labels"]] == ["liver", "tumour"]
