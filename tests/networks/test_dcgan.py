"""The generator and the discriminator of a DCGAN: what they are made of, and what the page of networks says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.networks import DCGANDiscriminator, DCGANGenerator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "networks.md"
PARAMETERS = {"DCGANGenerator": 3_574_656, "DCGANDiscriminator": 2_763_520}
NETWORKS = {"DCGANGenerator": DCGANGenerator, "DCGANDiscriminator": DCGANDiscriminator}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_what_the_page_says(name: str) -> None:
    assert sum(p.numel() for p in NETWORKS[name]().parameters()) == PARAMETERS[name]
    stated = re.search(rf"^\| {name} \| .*?([\d,]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert stated
    assert int(stated[1].replace(",", "")) == PARAMETERS[name]


def test_the_widths_of_the_papers_figure() -> None:
    layers = [each for each in DCGANGenerator(features=128).layers if isinstance(each, nn.ConvTranspose2d)]
    assert [each.in_channels for each in layers] == [100, 1024, 512, 256, 128]


def test_shapes_and_ranges() -> None:
    generator, discriminator = DCGANGenerator(features=4), DCGANDiscriminator(features=4)
    for latent in (torch.randn(3, 100, 1, 1), torch.randn(3, 100)):
        pictures = generator(latent)
        assert pictures.shape == (3, 1, 64, 64)
        assert pictures.abs().max() <= 1
    said = discriminator(pictures)
    assert said.shape == (3, 1)
    assert ((said > 0) & (said < 1)).all()
    said.mean().backward()
    assert all(p.grad is not None for network in (generator, discriminator) for p in network.parameters())


def test_norms_activations_and_biases() -> None:
    kinds = [type(each).__name__ for each in DCGANGenerator(features=2).layers]
    assert kinds == ["ConvTranspose2d", "BatchNorm2d", "ReLU"] * 4 + ["ConvTranspose2d", "Tanh"]
    layers = DCGANDiscriminator(features=2).layers
    kinds = [type(each).__name__ for each in layers]
    assert kinds == ["Conv2d", "LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3, "Conv2d", "Flatten", "Sigmoid"]
    assert all(each.bias is None for each in layers if isinstance(each, nn.Conv2d))
    assert {each.negative_slope for each in layers if isinstance(each, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("network", NETWORKS.values())
def test_weights_begin_as_the_paper_says(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    for layer in network().modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.weight.numel() > 5000:
            assert abs(layer.weight.mean().item()) < 0.001
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.01)
            assert not layer.bias.any()


@pytest.mark.parametrize("network", NETWORKS.values())
@pytest.mark.parametrize("wrong", [{"spatial_dims": 3}, {"in_channels": 0}, {"out_channels": 0}, {"features": 0}])
def test_arguments_are_checked(network: type[nn.Module], wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        network(**wrong)
