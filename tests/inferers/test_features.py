"""Classifiers on features: through the network's own call, and beside pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.inferers import EncodedClassInferer, FeatureInferer, SliceClassInferer
from pipelines.networks import EncodedClassifier, TransferClassifier


class Wrapped(torch.nn.Module):
    """As DistributedDataParallel: only what goes through its call has its gradients averaged."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module
        self.calls = 0

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.calls += 1
        return self.module(*args, **kwargs)


@pytest.mark.parametrize(
    "network", [TransferClassifier(), EncodedClassifier(as_two_classes=True)], ids=["flat", "codes"]
)
def test_features_go_through_the_networks_own_call(network: Any) -> None:
    pictures, wrapped = torch.rand(2, 1, 64, 64), Wrapped(network.eval())
    with torch.no_grad():
        found = FeatureInferer()(network.features(pictures), wrapped)
        torch.testing.assert_close(found, network(pictures), rtol=1e-4, atol=1e-5)
    assert wrapped.calls == 1


def test_codes_and_pictures_of_any_size_are_told_apart() -> None:
    network, picture = EncodedClassifier(as_two_classes=True).eval(), torch.rand(1, 1, 90, 70)
    inferer = EncodedClassInferer(256, slice_size=[64, 64])
    with torch.no_grad():
        due = SliceClassInferer([64, 64])(picture, network)
        torch.testing.assert_close(inferer(picture, network), due)
        codes = network.features(torch.nn.functional.interpolate(picture, (64, 64), mode="bilinear", antialias=True))
        torch.testing.assert_close(inferer(codes.half(), network), due, rtol=1e-2, atol=1e-2)
