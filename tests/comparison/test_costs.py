"""What networks cost: rebuilt from the bundles of this project, and told where that cannot be."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from made_runs import FINGERPRINT

from pipelines.comparison.costs import measure_costs
from pipelines.comparison.plots import pareto_front, style
from pipelines.comparison.ranking import Row
from pipelines.comparison.runs import Run

BUNDLE = "covid_ct_lesion_segmentation"


def row(network: str, *, experiment: str = BUNDLE, **params: object) -> Row:
    recorded = {"network": network, "slice_size": "[32, 32]", "data_fingerprint": FINGERPRINT, **params}
    run = Run("id", "name", experiment, "FINISHED", 0, 1, {}, {k: str(v) for k, v in recorded.items()}, {})
    return Row([run], label=network)


def test_networks_are_rebuilt_counted_and_timed(project: Path) -> None:
    threads = torch.get_num_threads()
    tiny, basic, again = measure_costs(
        [row("tiny_unet", parameters=9235), row("basic_unet"), row("tiny_unet")], project / "bundles"
    )
    assert (tiny.parameters, tiny.input_shape, tiny.time_ratio) == (9235, (1, 1, 32, 32), 1.0)
    assert tiny.parameter_mb == pytest.approx(9235 * 4 / 2**20)
    assert basic.parameters == 1_978_499
    assert basic.macs > tiny.macs > 1e5
    assert basic.time_ratio > 1
    assert basic.peak_mb > basic.parameter_mb
    assert again == tiny
    assert torch.get_num_threads() == threads


def test_a_network_that_cannot_be_had_says_why_and_is_not_made_up(project: Path) -> None:
    gone, strange, other, noname = measure_costs(
        [
            row("basic_unet", experiment="gone", parameters=7),
            row("no_such_unet"),
            row("tiny_unet", parameters=1),
            row("../../etc/passwd"),
        ],
        project / "bundles",
    )
    assert (gone.parameters, gone.why_not) == (7, "not measured: no bundle 'gone' here")
    assert "has no configs/networks/no_such_unet.yaml" in strange.why_not
    assert "built here it has 9,235 parameters, and the run recorded 1" in other.why_not
    assert "is no name of a network" in noname.why_not
    assert all(math.isnan(each.macs) and math.isnan(each.time_ratio) for each in (gone, strange, other, noname))


def test_what_a_store_says_is_never_run(project: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f"$__import__('pathlib').Path('{mark}').touch()"
    skips = row("skips", experiment="skin_lesion_segmentation", image_size="[64, 64]", dropout=code, epochs=code)
    (cost,) = measure_costs([skips], project / "bundles")
    assert cost.parameters == 9_653_057
    assert not mark.exists()


def test_the_pareto_front_has_what_nothing_cheaper_equals() -> None:
    assert pareto_front([1, 2, 3, 4, 2], [0.5, 0.7, 0.6, 0.9, 0.7]) == [0, 1, 3]
    assert pareto_front([2, math.nan, 1], [0.5, 0.9, math.nan]) == [0]


def test_seventy_styles_differ_and_twelve_do_in_grey() -> None:
    assert len({style(k) for k in range(70)}) == 70
    assert len({(style(k).marker, style(k).line) for k in range(10)}) == 10
