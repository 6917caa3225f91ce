"""Sliding windows over volumes of any size."""

from __future__ import annotations

import pytest
import torch

from pipelines.inferers import VolumeWindowInferer


@pytest.mark.parametrize("size", [(20, 37, 9), (16, 16, 16), (5, 6, 7)])
@pytest.mark.parametrize("amp", [False, True])
def test_a_network_that_sees_one_voxel_answers_as_over_the_whole(size: tuple[int, int, int], amp: bool) -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 3, 1)
    volume = torch.rand(1, 1, *size)
    with torch.no_grad():
        found = VolumeWindowInferer([16, 16, 16], overlap=0.5, amp=amp)(volume, network)
        assert found.shape == (1, 3, *size)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, network(volume), rtol=2e-2 if amp else 1e-4, atol=2e-2 if amp else 1e-5)


def test_no_window_is_larger_than_is_said() -> None:
    seen: list[tuple[int, ...]] = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(windows.shape))
        return windows

    VolumeWindowInferer([8, 8, 8], sw_batch_size=3, overlap=0.25)(torch.rand(1, 1, 20, 8, 9), network)
    assert {shape[1:] for shape in seen} == {(1, 8, 8, 8)}
    assert max(shape[0] for shape in seen) == 3
