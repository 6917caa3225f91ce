"""MobileNetV2UNet: its encoder's weights from wherever they are, frozen for good, and its feeds."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.networks import MobileNetV2UNet, parameter_groups, prepare_encoder
from pipelines.networks import mobilenetv2_unet as module
from pipelines.networks.torchvision_import import models


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with torchvision's keys, classifier and all, and norm statistics that are not those of a new network."""
    torch.manual_seed(7)
    network = models.mobilenet_v2(weights=None)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.8, 1.2)
    path = tmp_path_factory.mktemp("imagenet") / "mobilenet_v2.pth"
    torch.save(network.state_dict(), path)
    return path


def features(network: MobileNetV2UNet, x: torch.Tensor) -> torch.Tensor:
    for stage in network.encoder:
        x = stage(x)
    return x


def test_encoder_is_torchvisions_with_the_weights_of_the_file(imagenet: Path) -> None:
    theirs = models.mobilenet_v2(weights=None)
    theirs.load_state_dict(torch.load(imagenet, weights_only=True))
    ours = MobileNetV2UNet(pretrained=imagenet).eval()
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(features(ours, x), theirs.eval().features(x))
        assert features(ours, x).shape == (1, 1280, 2, 3)


def test_pixels_are_normalised_inside(imagenet: Path) -> None:
    """The statistics are torchvision's own, and no checkpoint holds them."""
    network = MobileNetV2UNet(pretrained=imagenet).eval()
    preset = models.MobileNet_V2_Weights.IMAGENET1K_V2.transforms()
    assert network.mean.flatten().tolist() == pytest.approx(preset.mean)
    assert network.std.flatten().tolist() == pytest.approx(preset.std)
    assert not {"mean", "std"} & network.state_dict().keys()


@pytest.fixture
def server(imagenet: Path, tmp_path: Path) -> Iterator[str]:
    """A file server with the weights under a name that says their hash, as torchvision's do."""
    content = imagenet.read_bytes()
    name = f"mobilenet_v2-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / name).write_bytes(content)
    (tmp_path / "www" / "mobilenet_v2-00000000.pth").write_bytes(content)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/{name}"
        httpd.shutdown()


def test_true_downloads_and_checks_the_hash(
    imagenet: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(module, "ENCODER_URL", server)
    fetched, read = MobileNetV2UNet(pretrained=True), MobileNetV2UNet(pretrained=imagenet)
    for key, value in fetched.encoder.state_dict().items():
        assert torch.equal(value, read.encoder.state_dict()[key]), key
    monkeypatch.setattr(module, "ENCODER_URL", server.rsplit("/", 1)[0] + "/mobilenet_v2-00000000.pth")
    with pytest.raises(UnreadableFileError, match=r"could not be fetched.*hash"):
        MobileNetV2UNet(pretrained=True)


def test_without_a_network_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(module, "ENCODER_URL", "http://127.0.0.1:9/mobilenet_v2-7ebf99e0.pth")
    with pytest.raises(UnreadableFileError, match="give the path of a file"):
        MobileNetV2UNet(pretrained=True)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(models.mobilenet_v3_small(weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not those of MobileNetV2"):
        MobileNetV2UNet(pretrained=tmp_path / "other.pth")
    with pytest.raises(UnreadableFileError):
        MobileNetV2UNet(pretrained=tmp_path / "none.pth")


def step(network: MobileNetV2UNet) -> None:
    """One step of training, in training mode, with a rate that shows."""
    optimizer = torch.optim.SGD(parameter_groups(network, 0.1, 0.5))
    network.train()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()


def test_a_frozen_encoder_changes_in_nothing(imagenet: Path) -> None:
    network = MobileNetV2UNet(pretrained=imagenet, freeze_encoder=True)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    step(network)
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert not any(key.startswith("encoder.") for key in changed)
    assert {key for key in before if key.startswith(("decoder.", "final."))} == changed
    assert all(parameter.grad is None for parameter in network.encoder.parameters())


def test_a_frozen_encoder_stays_in_evaluation_through_every_train(imagenet: Path) -> None:
    network = MobileNetV2UNet(pretrained=imagenet, freeze_encoder=True, dropout=0.5)
    for _ in range(2):
        network.eval()
        nn.Sequential(network).train()  # as a container does it, by its children
        network.train()
        assert not any(layer.training for layer in network.encoder.modules())
        dropouts = [layer for layer in network.decoder.modules() if isinstance(layer, nn.Dropout2d)]
        assert dropouts
        assert all(layer.training and layer.p == 0.5 for layer in dropouts)


def test_held_norm_layers_keep_their_statistics_while_the_rest_learns(imagenet: Path) -> None:
    for hold in (True, False):
        network = MobileNetV2UNet(pretrained=imagenet, hold_norm=hold)
        before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
        step(network)
        changed = {key for key, value in network.encoder.state_dict().items() if not torch.equal(value, before[key])}
        statistics = {key for key in before if key.endswith(("running_mean", "running_var"))}
        assert (changed & statistics == set()) is hold
        assert "0.0.0.weight" in changed


def test_unfreezing_lets_the_encoder_learn_again(imagenet: Path) -> None:
    network = MobileNetV2UNet(pretrained=imagenet, freeze_encoder=True)
    prepare_encoder(network, pretrained=False, freeze_encoder=False)
    before = network.encoder[0][0][0].weight.clone()
    step(network)
    assert not torch.equal(network.encoder[0][0][0].weight, before)


def test_parameter_groups_give_the_encoder_its_own_rate(imagenet: Path) -> None:
    network = MobileNetV2UNet()
    groups = parameter_groups(network, 0.01, 0.3)
    assert [group["lr"] for group in groups] == [0.01, pytest.approx(0.003)]
    given = [parameter for group in groups for parameter in group["params"]]
    assert len(given) == len({id(each) for each in given}) == len(list(network.parameters()))
    assert {id(each) for each in groups[1]["params"]} == {id(each) for each in network.encoder.parameters()}
    frozen = parameter_groups(MobileNetV2UNet(freeze_encoder=True), 0.01, 0.3)
    assert [group["lr"] for group in frozen] == [0.01]


def test_skips_feed_the_decoder_and_the_last_feature_alone_does_not_need_them() -> None:
    """Where the smallest feature is the same, only a network with skips can tell two pictures apart."""
    torch.manual_seed(0)
    for skips in (True, False):
        network = MobileNetV2UNet(skips=skips).eval()
        features = [torch.rand(1, c, s, s) for c, s in ((16, 32), (24, 16), (32, 8), (96, 4), (1280, 2))]
        other = [torch.rand_like(each) for each in features[:-1]] + features[-1:]
        with torch.no_grad():
            same = torch.equal(network.decoder(features), network.decoder(other))
        assert same is not skips


@pytest.mark.parametrize(
    ("arguments", "parameters"), [({"skips": False}, 8_689_537), ({"decoder": "interpolating"}, 3_707_617)], ids=str
)
def test_parameter_counts_of_the_other_decoders(arguments: dict, parameters: int) -> None:
    network = MobileNetV2UNet(**arguments)
    assert sum(each.numel() for each in network.parameters()) == parameters
    with torch.no_grad():
        assert network.eval()(torch.rand(1, 3, 50, 70)).shape == (1, 1, 50, 70)


def test_unknown_decoders_and_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="decoder must be one of"):
        MobileNetV2UNet(decoder="unet")
    with pytest.raises(ValueError, match="no pretrained encoder"):
        prepare_encoder(nn.Conv2d(3, 1, 1), freeze_encoder=True)
