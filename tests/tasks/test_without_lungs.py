"""What a shortcut control of chest X-rays sees: all but the lungs."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.tasks.chest_xray.without_lungs import WithoutLungs, lung_template


def test_the_template_covers_both_lungs_and_leaves_the_corners() -> None:
    template = lung_template(64)
    assert template.mean() == pytest.approx(0.70, abs=0.01)
    np.testing.assert_array_equal(template, template[::-1])
    x, y = np.array([0.2, 0.35, 0.06, 0.94]), np.array([0.5, 0.15, 0.8, 0.8])  # middle, apex, both lower outer corners
    assert template[(x * 64).astype(int), (y * 64).astype(int)].all()
    assert not template[[0, 0, -1, -1, 32], [0, -1, 0, -1, -1]].any()


def test_the_view_is_what_the_template_leaves() -> None:
    np.testing.assert_array_equal(WithoutLungs().seen(32), ~lung_template(32))
