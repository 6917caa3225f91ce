"""The losses of a generator and a discriminator, as MONAI's GanTrainer calls them."""

from __future__ import annotations

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from pipelines.errors import ConfigError


class DiscriminatorLoss:
    """Binary cross entropy of telling real pictures from generated ones, the mean of both halves.

    Args:
        discriminator: gives probabilities, B x 1.
        label_smoothing: real pictures are said to be real with 1 minus this, 0..0.5 (one-sided: Salimans et al.,
            Improved Techniques for Training GANs, 2016, https://arxiv.org/abs/1606.03498).
        inferer: how the discriminator is applied.

    Raises:
        ConfigError: a smoothing out of its range.
    """

    def __init__(
        self, discriminator: torch.nn.Module, label_smoothing: float = 0.0, inferer: Inferer | None = None
    ) -> None:
        if not 0 <= label_smoothing < 0.5:
            raise ConfigError(f"label_smoothing is {label_smoothing}", how="give a part from 0 to below 0.5")
        self.discriminator = discriminator
        self.real = 1.0 - label_smoothing
        self.inferer = inferer or SimpleInferer()

    def __call__(self, fakes: Tensor, reals: Tensor) -> Tensor:
        """Loss of B x C x H x W generated and real pictures; nothing of it reaches the generator."""
        real, fake = (self.inferer(each.detach(), self.discriminator) for each in (reals, fakes))
        return (_against(real, self.real) + _against(fake, 0.0)) / 2


class GeneratorLoss:
    """Binary cross entropy of generated pictures taken for real ones (the non-saturating loss of Goodfellow et al.,
    Generative Adversarial Networks, 2014, https://arxiv.org/abs/1406.2661).

    Args:
        discriminator, inferer: as ``DiscriminatorLoss``.
    """

    def __init__(self, discriminator: torch.nn.Module, inferer: Inferer | None = None) -> None:
        self.discriminator = discriminator
        self.inferer = inferer or SimpleInferer()

    def __call__(self, fakes: Tensor) -> Tensor:
        """Loss of B x C x H x W generated pictures."""
        return _against(self.inferer(fakes, self.discriminator), 1.0)


def _against(probabilities: Tensor, target: float) -> Tensor:
    return binary_cross_entropy(probabilities, torch.full_like(probabilities, target))
