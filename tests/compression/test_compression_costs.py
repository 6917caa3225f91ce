"""Times in turns, and memory of a process of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.compression.costs import eager_forward, parameters, peak_memory, ratio, times_in_turns


def test_forms_take_turns() -> None:
    called: list[str] = []
    forms = {name: lambda _, name=name: called.append(name) for name in "ab"}
    found = times_in_turns(forms, np.zeros((1, 1), np.float32), rounds=2)
    assert called == ["a", "b"] * 3
    assert {name: len(each) for name, each in found.items()} == {"a": 2, "b": 2}
    assert ratio(np.array([1.0, 4.0, 9.0]), np.array([2.0, 4.0, 3.0])) == 1.0


def test_what_is_not_zero_is_counted() -> None:
    network = nn.Linear(3, 2)
    nn.init.zeros_(network.bias)
    assert parameters(network) == (8, 6)


def test_eager_is_the_network() -> None:
    network = nn.Conv2d(1, 2, 3).eval()
    images = np.random.default_rng(0).random((1, 1, 5, 5), np.float32)
    torch.testing.assert_close(eager_forward(network)(images), network(torch.from_numpy(images)))


@pytest.mark.slow
def test_a_larger_network_takes_more_memory() -> None:
    images = np.zeros((1, 1, 64, 64), np.float32)
    small, large = (peak_memory(nn.Conv2d(1, width, 3), images) for width in (8, 4096))
    if small is None or large is None:
        pytest.skip("the system does not tell")
    assert large > small + 50  # 4096 planes of 62 x 62 floats are 60 MiB
