"""How much generated pictures differ from one another, beside how much real ones do: whether a generator collapsed.

Two measures, since a collapse has two faces. All samples alike: the mean structural similarity (SSIM, Wang et al. 2004)
of pairs, as Odena et al. measure a GAN's diversity (Conditional Image Synthesis with Auxiliary Classifier GANs, 2017,
https://arxiv.org/abs/1610.09585). A few pictures over and over: the distance from a sample to the nearest other one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from monai.metrics.regression import SSIMMetric
from torch import Tensor

COLLAPSED_BELOW = 0.5  # of what real pictures have, in either measure
_PAIRS = 256
_BATCH = 64


@dataclass(frozen=True)
class Diversity:
    """Of generated and of as many real pictures.

    Attributes:
        sample_ssim, real_ssim: mean SSIM of pairs; 1 means that all are equal.
        sample_distance, real_distance: median distance to the nearest other picture: root mean square of grey 0..1.
    """

    sample_ssim: float
    real_ssim: float
    sample_distance: float
    real_distance: float

    @property
    def difference(self) -> float:
        """1 - SSIM of samples over that of real pictures; 1 means that pairs differ as much as real ones."""
        return (1 - self.sample_ssim) / max(1 - self.real_ssim, 1e-6)

    @property
    def spread(self) -> float:
        """The nearest other sample's distance over that of real pictures."""
        return self.sample_distance / max(self.real_distance, 1e-6)

    @property
    def collapsed(self) -> bool:
        """Either ratio is below ``COLLAPSED_BELOW``."""
        return min(self.difference, self.spread) < COLLAPSED_BELOW

    def numbers(self) -> dict[str, float]:
        """All of it by name, for a run's metrics and a generator's record."""
        ratios = {"relative_difference": self.difference, "relative_spread": self.spread}
        return {**asdict(self), **ratios, "collapsed": float(self.collapsed)}


def diversity(samples: Tensor, reals: Tensor) -> Diversity:
    """Diversity of N generated beside N real pictures of the same class (N x C x H x W each, grey 0..1, N at least 2).

    The nearest of many is nearer than that of few: where there are fewer real pictures, as many samples are taken.

    Raises:
        ValueError: fewer than two pictures.
    """
    number = min(len(samples), len(reals))
    if number < 2:
        raise ValueError(f"diversity is of pairs, got {len(samples)} samples and {len(reals)} real pictures")
    samples, reals = samples[:number].float(), reals[:number].float()
    return Diversity(*map(mean_similarity, (samples, reals)), *map(nearest_other, (samples, reals)))


def mean_similarity(pictures: Tensor) -> float:
    """Mean SSIM (window 11, sigma 1.5) of 256 pairs of different pictures, N x C x H x W, 0..1; of all if there are
    fewer pairs."""
    pairs = torch.combinations(torch.arange(len(pictures)))
    if len(pairs) > _PAIRS:
        pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[:_PAIRS]]
    metric = SSIMMetric(spatial_dims=pictures.ndim - 2, data_range=1.0)
    parts = [metric(pictures[part[:, 0]], pictures[part[:, 1]]) for part in pairs.split(_BATCH)]
    return float(torch.cat([torch.as_tensor(part).flatten() for part in parts]).mean())


def nearest_other(pictures: Tensor) -> float:
    """Median over pictures (N x …, 0..1) of the root mean square difference to the nearest other one."""
    flat = pictures.flatten(1)
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(torch.inf)
    return float(distances.min(dim=1).values.median()) / flat.shape[1] ** 0.5
