"""The rule: extents to classes, and what is never divided by."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import ConfigError
from pipelines.tasks.lung_ct.phantom import make_lung_phantom
from pipelines.tasks.lung_ct.severity import (
    SCALES,
    SeverityScale,
    scale,
    slice_counts,
    slice_extents,
    volume_extent,
    volume_floor,
)

NORMAL_MILD_SEVERE, CT = SCALES["normal_mild_severe"], SCALES["ct0_ct4"]


@pytest.mark.parametrize(
    ("extent", "name"),
    [(0, "normal"), (0.00099, "normal"), (0.001, "mild"), (0.2499, "mild"), (0.25, "severe"), (1, "severe")],
)
def test_a_class_begins_at_its_threshold(extent, name):
    assert NORMAL_MILD_SEVERE.name(extent) == name


@pytest.mark.parametrize(
    ("extent", "name"),
    [(0, "CT-0"), (1e-6, "CT-1"), (0.2499, "CT-1"), (0.25, "CT-2"), (0.5, "CT-3"), (0.75, "CT-4"), (1, "CT-4")],
)
def test_a_threshold_of_zero_means_any_lesion(extent, name):
    assert CT.name(extent) == name


def test_the_rule_is_said_in_words():
    assert str(NORMAL_MILD_SEVERE).startswith("normal < 0.1 %, mild < 25 %, severe from there")
    assert str(CT).startswith("CT-0: no lesion, CT-1 < 25 %")
    assert "severe from there" in str(scale(thresholds=[0.05, 0.3]))
    assert "mild < 30 %" in str(scale(thresholds=[0.05, 0.3]))


def test_no_extent_has_no_class():
    assert NORMAL_MILD_SEVERE.name(None) is None
    assert NORMAL_MILD_SEVERE.name(float("nan")) is None
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="lies in"):
            NORMAL_MILD_SEVERE.index(wrong)


def test_borderline_is_an_interval_that_reaches_into_another_class():
    assert NORMAL_MILD_SEVERE.is_borderline(0.24, 0.26)
    assert NORMAL_MILD_SEVERE.is_borderline(0, 0.01)
    assert not NORMAL_MILD_SEVERE.is_borderline(0.1, 0.2)
    assert not NORMAL_MILD_SEVERE.is_borderline(0, 0)


@pytest.mark.parametrize(
    "thresholds", [(0.1,), (0.25, 0.001), (0.1, 0.1), (-0.1, 0.2), (0.1, 25), (0.1, float("nan")), ("a", "b")], ids=str
)
def test_thresholds_that_cannot_be_are_refused(thresholds):
    with pytest.raises(ConfigError):
        SeverityScale(("normal", "mild", "severe"), thresholds)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ConfigError, match="choose one of normal_mild_severe"):
        scale("who")


def test_extents_by_hand():
    mask = np.zeros((10, 10, 4), np.uint8)
    mask[:4, :, 0] = 1  # 40 pixels of lung,
    mask[:1, :, 0] = 2  # 10 of them lesion
    mask[0, 0, 1] = 1  # one pixel is at the floor of 1 % of the area
    mask[:, :, 2] = 2  # nothing but lesion
    lesion, lung = slice_counts(mask)
    assert lesion.tolist() == [10, 0, 100, 0]
    assert lung.tolist() == [40, 1, 100, 0]
    extents = slice_extents(lesion, lung, 100)
    assert extents[:3].tolist() == [0.25, 0, 1]
    assert np.isnan(extents[3])
    assert np.isnan(slice_extents(lesion, lung, 100, floor_share=0.02)[1])


def test_nothing_is_divided_by_zero():
    with np.errstate(all="raise"):
        assert np.isnan(slice_extents(np.zeros(3), np.zeros(3), 100)).all()
    assert volume_extent(0, 0, volume_floor(300_000, (1, 1, 1))) is None
    assert volume_extent(0, 0, 1.0) is None


def test_floor_of_a_chest_is_in_millilitres_and_of_a_thin_slab_a_part_of_it():
    assert volume_floor(400 * 400 * 165, (1.0, 1.0, 2.0)) == 50_000  # 100 mL of voxels of 2 mm³
    assert volume_floor(100 * 100 * 2, (1.0, 1.0, 2.0)) == 200
    assert volume_floor(100 * 200, None) == 200


def test_the_docs_state_the_floor_of_the_code(project):
    """1 % of all voxels, and no more than 100 mL; which of the two it is turns at 10 L."""
    litre = 1_000_000  # of voxels of 1 mm³
    assert volume_floor(5 * litre, (1, 1, 1)) == 0.01 * 5 * litre
    assert volume_floor(10 * litre, (1, 1, 1)) == volume_floor(30 * litre, (1, 1, 1)) == 100 * 1000
    how_to = (project / "docs" / "how-to" / "segment-your-scans.md").read_text()
    assert "less than 1 % of all voxels; in a volume of more than 10 L, less than 100 mL" in how_to
    explained = (project / "docs" / "explanation" / "extent-is-not-severity.md").read_text()
    assert "of a scan 1 % of its volume, and no more than 100 mL" in explained


def test_a_phantom_of_known_extent_is_measured_by_its_true_mask():
    for seed, extent in enumerate([0.0, 0.0005, 0.07, 0.2495, 0.2505, 0.6]):
        phantom = make_lung_phantom(seed, size=96, slices=10, extent=extent)
        lesion, lung = (int(each.sum()) for each in slice_counts(phantom.label))
        spacing = np.linalg.norm(phantom.affine[:3, :3], axis=0)
        measured = volume_extent(lesion, lung, volume_floor(phantom.label.size, spacing))
        assert measured == pytest.approx(extent, abs=0.01)
        assert NORMAL_MILD_SEVERE.name(measured) == phantom.severity
