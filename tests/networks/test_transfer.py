"""Networks on encoders from elsewhere: their counts, their weights, and what is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.errors import WeightsError
from pipelines.networks import AlexNet, ChestCNN, TransferClassifier, VGG16Transfer, prepare_encoder
from pipelines.networks.torchvision_import import models
from pipelines.networks.transfer import ARCHITECTURES

COUNTS = {
    "mobilenet_v2": 2_226_434, "efficientnet_b0": 4_010_110, "densenet121": 6_955_906, "resnet34": 21_285_698,
    "resnet50": 23_512_130, "googlenet": 5_601_954, "vgg19": 139_578_434,
}  # fmt: skip


def test_every_architecture_is_counted() -> None:
    assert COUNTS.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        network = TransferClassifier(name)
    assert sum(each.numel() for each in network.parameters()) == COUNTS[name]


def test_a_part_of_vgg16_learns() -> None:
    network = VGG16Transfer()
    assert sum(each.numel() for each in network.parameters() if each.requires_grad) == 16_843_521


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet", "resnet34", "densenet121"])
def test_encoder_is_torchvisions_with_the_weights_of_the_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    arguments = {"init_weights": False} if name == "googlenet" else {}
    theirs = getattr(models, name)(weights=None, **arguments)  # GoogLeNet's with its auxiliary classifiers, as released
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.8, 1.2)
    torch.save(theirs.state_dict(), tmp_path / "imagenet.pth")
    ours = TransferClassifier(name, pretrained=tmp_path / "imagenet.pth").eval()
    last = "classifier" if hasattr(theirs, "classifier") else "fc"
    setattr(theirs, last, nn.Identity())
    grey = torch.rand(1, 1, 64, 64)
    normalised = (grey.expand(1, 3, 64, 64) - ours.mean) / ours.std
    with torch.no_grad():
        torch.testing.assert_close(ours.features(grey), theirs.eval()(normalised), rtol=1e-4, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "r18.pth")
    with pytest.raises(WeightsError, match="not those of mobilenet_v2"):
        TransferClassifier(pretrained=tmp_path / "r18.pth")
    with pytest.raises(WeightsError, match="not those of vgg16"):
        VGG16Transfer(pretrained=tmp_path / "r18.pth")


def test_a_frozen_encoder_changes_in_nothing() -> None:
    network = TransferClassifier(freeze_encoder=True)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=0.1)
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.startswith("classifier.") for key in changed)
    assert not any(layer.training for layer in network.encoder.modules())


@pytest.mark.parametrize(("architecture", "named"), [("mobilenet_v2", "0.0 0.1 0.2"), ("resnet34", "0 1 2")])
def test_so_many_of_the_first_layers_hold_still(architecture: str, named: str) -> None:
    network = TransferClassifier(architecture, freeze_encoder=3).train()
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    still = tuple(f"encoder.{each}." for each in named.split())
    learns = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learns == {name for name, _ in network.named_parameters() if not name.startswith(still)}
    assert learns >= {"classifier.1.weight"}
    trained = {name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d) and layer.training}
    assert trained
    assert not any(f"{name}.".startswith(still) for name in trained)


def test_more_layers_than_there_are_cannot_be_frozen() -> None:
    with pytest.raises(ValueError, match="0 to 19 layers, got 20"):
        TransferClassifier(freeze_encoder=20)


@pytest.mark.parametrize("build", [ChestCNN, VGG16Transfer], ids=lambda each: each.__name__)
def test_one_logit_as_two_classes_has_the_same_probability(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    one, two = build(in_channels=1).eval(), build(in_channels=1, as_two_classes=True).eval()
    two.load_state_dict(one.state_dict())
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(two(x).softmax(1)[:, 1:], one(x).sigmoid())
    with pytest.raises(ValueError, match="as_two_classes"):
        build(out_channels=2, as_two_classes=True)


def test_networks_without_an_encoder_are_left_alone_or_refused() -> None:
    network = AlexNet()
    assert prepare_encoder(network, True, False, True) is network
    with pytest.raises(ValueError, match="no pretrained encoder"):
        prepare_encoder(network, False, True, False)
    with pytest.raises(ValueError, match="no pretrained encoder"):
        prepare_encoder(network, "some.pth", False, False)


def test_unknown_architectures_and_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="architecture must be one of"):
        TransferClassifier("resnet18")
    with pytest.raises(ValueError, match="in_channels must be 1 or 3"):
        TransferClassifier(in_channels=2)


def test_a_config_without_a_wish_freezes_only_what_was_designed_so() -> None:
    def learns(network: torch.nn.Module) -> int:
        prepared = prepare_encoder(network, False, None, True)
        return sum(each.numel() for each in prepared.parameters() if each.requires_grad)

    assert learns(VGG16Transfer(in_channels=1)) == 16_843_521
    assert learns(TransferClassifier()) == 2_226_434
    unfrozen = prepare_encoder(VGG16Transfer(), False, False, True)
    assert sum(p.requires_grad for p in unfrozen.encoder.parameters()) == 26
