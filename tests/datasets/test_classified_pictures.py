"""Features of a frozen encoder, computed once: those that the network would compute each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd

from pipelines.datasets import ClassifiedPictures, EncoderFeatures
from pipelines.inferers import FeatureInferer
from pipelines.networks import TransferClassifier


@pytest.fixture(scope="module")
def network() -> TransferClassifier:
    torch.manual_seed(0)
    return TransferClassifier(freeze_encoder=True)


def pictures(*transforms: object) -> ClassifiedPictures:
    generator = torch.Generator().manual_seed(0)
    data = [{"image": torch.rand(1, 64, 64, generator=generator), "label": k % 2} for k in range(5)]
    steps = Compose(list(transforms))
    steps.set_random_state(0)  # Compose has drawn its own: all six variants would fall alike once in thirty times
    return ClassifiedPictures(data, steps)


def test_features_and_logits_are_those_of_the_network(network: TransferClassifier) -> None:
    data = pictures()
    features = EncoderFeatures(data, network, variants=1, batch_size=2)
    batch = torch.stack([torch.as_tensor(data[k]["image"]) for k in range(5)])
    kept = torch.stack([features[k]["image"] for k in range(5)])
    with torch.no_grad():
        torch.testing.assert_close(kept, network.features(batch), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(FeatureInferer()(kept, network.eval()), network(batch), rtol=1e-4, atol=1e-5)
    assert [features[k]["label"] for k in range(5)] == [0, 1, 0, 1, 0]
    np.testing.assert_array_equal(features.labels, data.labels)


def test_variants_are_augmented_and_one_is_drawn_each_time(network: TransferClassifier) -> None:
    flip = RandFlipd("image", prob=0.5, spatial_axis=0)
    features = EncoderFeatures(pictures(flip), network, variants=6)
    assert features.features.shape == (6, 5, 1280)
    assert len({tuple(features.features[v, 0, :8].tolist()) for v in range(6)}) == 2
    torch.manual_seed(0)
    assert len({tuple(features[0]["image"][:8].tolist()) for _ in range(20)}) == 2


def test_no_variant_is_refused(network: TransferClassifier) -> None:
    with pytest.raises(ValueError, match="variant"):
        EncoderFeatures(pictures(), network, variants=0)
