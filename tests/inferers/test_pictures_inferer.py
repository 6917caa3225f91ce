"""PictureInferer: pictures of any size through a network of one size, and back."""

from __future__ import annotations

import torch
from torch import nn

from pipelines.inferers import PictureInferer


class Recorder(nn.Module):
    """Keeps the sizes it saw, and answers with the red channel."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(x.shape[2:]))
        return x[:, :1]


def test_answer_has_the_pictures_size_and_lies_on_it() -> None:
    picture = torch.zeros(1, 3, 301, 187)
    picture[:, 0, 40:120, 100:160] = 1
    network = Recorder()
    answer = PictureInferer([128, 96])(picture, network)
    assert network.sizes == [(128, 96)]
    assert answer.shape == (1, 1, 301, 187)
    inside, found = picture[0, 0] > 0.5, answer[0, 0] > 0.5
    assert (inside & found).sum() / (inside | found).sum() > 0.95


def test_a_picture_of_the_networks_own_size_goes_through_untouched() -> None:
    picture = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(PictureInferer([64, 96])(picture, Recorder()), picture[:, :1])


def test_flips_and_scales_are_averaged_and_put_back() -> None:
    picture = torch.rand(1, 3, 64, 64)
    network = Recorder()
    answer = PictureInferer([64, 64], flips=True)(picture, network)
    torch.testing.assert_close(answer, picture[:, :1])  # a network that treats all alike: the average is any of them
    assert len(network.sizes) == 4
    network = Recorder()
    PictureInferer([64, 64], scales=[1.0, 1.25, 1.5])(picture, network)
    assert network.sizes == [(64, 64), (96, 96), (96, 96)]


class Ramp(nn.Module):
    """Answers with the column's number, whatever the picture: as a network that is not symmetric would."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(x.shape[3], dtype=torch.float32).expand(x.shape[0], 1, x.shape[2], x.shape[3])


def test_flips_take_out_what_depends_on_the_side() -> None:
    answer = PictureInferer([32, 32], flips=True)(torch.rand(1, 3, 32, 32), Ramp())
    torch.testing.assert_close(answer, torch.full((1, 1, 32, 32), 15.5))
