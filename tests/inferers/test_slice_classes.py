"""A classifier over slices, and what single predictions say beside their average."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipelines.inferers import SliceClassInferer, VolumeSliceInferer


class Moments(nn.Module):
    """Logits that depend on where in the slice it is bright: its mean, and that of its first rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = tuple(x.shape)
        return torch.stack([x.mean(dim=(1, 2, 3)), x[:, :, : x.shape[2] // 2].mean(dim=(1, 2, 3))], dim=1)


def test_each_slice_is_classified_in_its_order():
    volume = torch.arange(5.0).expand(2, 1, 8, 6, 5) / 10
    network = Moments()
    logits = SliceClassInferer(slice_size=(16, 16), batch_size=2)(volume, network)
    assert logits.shape == (2, 2, 5)
    assert network.seen == (1, 1, 16, 16)  # the last, of a batch of two
    torch.testing.assert_close(logits[1, 0], torch.arange(5.0) / 10)


def test_a_slice_without_third_axis_is_one_answer():
    assert SliceClassInferer(slice_size=None)(torch.rand(3, 1, 8, 8), Moments()).shape == (3, 2)


def test_flips_are_averaged_over():
    volume = torch.zeros(1, 1, 8, 8, 1)
    volume[:, :, :4] = 1
    plain = SliceClassInferer(slice_size=None)(volume, Moments())[0, :, 0]
    flipped = SliceClassInferer(slice_size=None, flips=True)(volume, Moments())[0, :, 0]
    assert plain.tolist() == [0.5, 1]
    assert flipped.tolist() == [0.5, 0.5]


class BrightIsTwo(nn.Module):
    """Three classes by brightness; the first row is always the second class, so that flips disagree about it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.cat([-9 * (x - centre) ** 2 for centre in (0.2, 0.5, 0.8)], dim=1)
        logits[:, :, 0] = torch.tensor([0.0, 4.0, 0.0])[None, :, None]
        return logits


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.25)])
def test_members_come_behind_their_average(scales):
    volume = torch.rand(1, 1, 16, 16, 3)
    inferer = VolumeSliceInferer((16, 16), flips=True, scales=scales, members=True)
    found = inferer(volume, BrightIsTwo())
    assert found.shape == (1, 1 + 4 * len(scales), 16, 16, 3)
    assert found.dtype == torch.uint8
    plain = VolumeSliceInferer((16, 16), flips=True, scales=scales)(volume, BrightIsTwo())
    assert (found[:, :1] == plain).float().mean() > 0.99
    assert (found[0, 1, 0] == 1).all(), "the first member saw it unflipped"
    assert (found[0, 3 if len(scales) == 1 else 2, :, 0] == 1).float().mean() < 1
    assert not torch.equal(found[0, 1], found[0, 2])
