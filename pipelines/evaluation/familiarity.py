"""How like its training pictures a network with an autoencoder finds a picture: reconstruction errors, and how far its
code lies from training's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.metrics import SSIMMetric
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from pipelines.inferers import resampled

TITLES = {
    "mse": "reconstruction error (MSE)",
    "ssim": "similarity of the reconstruction (SSIM)",
    "code_distance": "distance of the code (Mahalanobis)",
}
LOW_IS_FAR = ("ssim",)


@dataclass(frozen=True)
class Familiarity:
    """What an autoencoder makes of a picture.

    Attributes:
        mse: mean squared error of the reconstruction, greys 0..1.
        ssim: structural similarity of the reconstruction, up to 1 (Wang et al. 2004, 10.1109/TIP.2003.819861; MONAI's,
            with a Gaussian window of 11).
        code_distance: Mahalanobis distance of the pooled code from training's (``code_distance`` of the network).
        picture, reconstruction: (W, H), 0..1, as the network sees it and gives it back.
    """

    mse: float
    ssim: float
    code_distance: float
    picture: NDArray[np.float32]
    reconstruction: NDArray[np.float32]

    @property
    def measures(self) -> dict[str, float]:
        """The three numbers, by name."""
        return {name: getattr(self, name) for name in TITLES}


def measure(network: Any, picture: torch.Tensor, size: Sequence[int] | None = None) -> Familiarity:
    """Familiarity of a grey picture (1, W, H), 0..1.

    Args:
        network: an ``EncodedClassifier``, or anything with its ``autoencoder``, ``features`` and ``code_distance``.
        picture: on any device.
        size: (W, H) that it is resampled to; None: as it is.
    """
    inner = getattr(network, "module", network)
    inner.eval()
    given = torch.as_tensor(picture).as_subclass(torch.Tensor)[None].float().to(next(inner.parameters()).device)
    given = given if size is None else resampled(given, size)
    with torch.no_grad():
        codes = inner.features(given)
        answer = inner.autoencoder.decode(codes)[..., : given.shape[2], : given.shape[3]]
        return Familiarity(
            float((answer - given).square().mean()),
            float(torch.as_tensor(SSIMMetric(spatial_dims=2)(answer, given))),
            float(inner.code_distance(codes)),
            given[0, 0].cpu().numpy(),
            answer[0, 0].cpu().numpy(),
        )


def code_statistics(pooled: NDArray) -> tuple[NDArray, NDArray]:
    """Mean (C,) and precision (C, C) of pooled codes (N, C), shrunken as Ledoit and Wolf do (scikit-learn's)."""
    found = LedoitWolf().fit(np.asarray(pooled, dtype=np.float64))
    return found.location_, found.get_precision()


def limits_of(measured: Sequence[Mapping[str, float]], percentile: float) -> dict[str, float]:
    """The value of each measure beyond which (of SSIM: below which) only 100 - ``percentile`` percent of these lie."""
    return {
        name: float(
            np.percentile([each[name] for each in measured], 100 - percentile if name in LOW_IS_FAR else percentile)
        )
        for name in TITLES
    }


def beyond(measures: Mapping[str, float], limits: Mapping[str, float], asked: Sequence[str]) -> list[str]:
    """Of the measures that are asked, those beyond their limits, in words."""
    found = []
    for name in asked:
        value, limit = measures[name], limits[name]
        if value < limit if name in LOW_IS_FAR else value > limit:
            kind = "at least" if name in LOW_IS_FAR else "at most"
            found.append(f"{TITLES[name]} is {value:.3g}, of training's kind {kind} {limit:.3g}")
    return found
