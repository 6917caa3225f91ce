"""What is written of a classified picture, at its operating point; and where the network looked."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.visualize import GradCAM
from PIL import Image

from pipelines.errors import ConfigError, UnreadableFileError, WeightsError
from pipelines.handlers import PictureClassWriter
from pipelines.networks import ChestCNN, LungFramedClassifier, SmallAlexNet, TransferClassifier, TwoViewClassifier
from pipelines.tasks.chest_xray.phantom import make_chest_xray_phantom
from pipelines.tasks.chest_xray.writer import XrayClassWriter
from pipelines.transforms import Calibration, OperatingPoint, calibration_path
from pipelines.weights import save_weights, weights_digest

NAMES = ["normal", "pneumonia"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(ChestCNN(as_two_classes=True), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


@pytest.fixture
def calibration(weights: Path) -> Calibration:
    point = OperatingPoint("pneumonia", 0.8, 0.95, 0.96, 0.9)
    found = Calibration(1.5, 0.2, 0.1, 0.5, 0.4, 90, 4, weights_digest(weights), NAMES, [], "", point)
    found.write(calibration_path(weights))
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    chest = Image.fromarray(make_chest_xray_phantom(0, 90, pneumonia=False).picture)
    grey = np.asarray(chest.resize((90, 60))) // 4
    grey[10:30, 50:80] = 220
    Image.fromarray(grey).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    """A drawing as bright as a real picture is."""
    drawn = Image.fromarray(make_chest_xray_phantom(0, 90, pneumonia=False).picture)
    drawn.resize((90, 60)).save(tmp_path / "chest.png")
    return tmp_path / "chest.png"


def report(writer: XrayClassWriter, picture: Path, pneumonia: float) -> dict:
    item = {"pred": torch.tensor([1 - pneumonia, pneumonia])}
    return json.loads(writer.write_case("a", writer.read(picture), item)["report"].read_text())


def test_class_follows_the_operating_point_of_the_weights(
    tmp_path: Path, weights: Path, calibration: Calibration, chest: Path
) -> None:
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES, checkpoint=str(weights))
    below, above = report(writer, chest, 0.7), report(writer, chest, 0.81)
    assert (below["class"], above["class"]) == ("normal", "pneumonia")
    assert below["probabilities"] == pytest.approx({"normal": 0.3, "pneumonia": 0.7})
    assert below["operating_point"]["threshold"] == 0.8
    assert below["temperature"] == 1.5
    assert report(writer, chest, 0.55)["refer"] is True
    assert below["refer"] is True, "normal is said, at a probability of 0.3"
    assert report(writer, chest, 0.1)["refer"] is False
    assert below["size_px"] == {"width": 90, "height": 60}


def test_a_picture_of_low_contrast_is_referred_however_sure_the_network_is(
    tmp_path: Path, weights: Path, calibration: Calibration, chest: Path
) -> None:
    grey = np.asarray(Image.open(chest)).astype(float)
    dark, light = np.percentile(grey, [2, 98])
    flat = np.clip((grey - dark) / (light - dark), -0.1, 1.1) * 40 + 108
    Image.fromarray(flat.astype(np.uint8)).save(tmp_path / "flat.png")
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES, checkpoint=str(weights))
    found = report(writer, tmp_path / "flat.png", 0.99)
    assert found["class"] == "pneumonia"
    assert found["refer"] is True
    assert found["reason"].startswith("low contrast: ")


def test_without_a_calibration_the_likelier_class_is_said(tmp_path: Path, weights: Path, picture: Path) -> None:
    assert report(XrayClassWriter(str(tmp_path / "out"), NAMES), picture, 0.51)["class"] == "pneumonia"


def test_a_picture_that_may_be_no_chest_xray_is_referred_however_sure_the_network_is(
    tmp_path: Path, chest: Path
) -> None:
    Image.open(chest).rotate(90, expand=True).save(tmp_path / "side.png")
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES)
    said = report(writer, tmp_path / "side.png", 0.99)
    assert said["refer"] is True
    assert said["reason"] == "the picture does not look like an upright frontal chest X-ray"
    assert report(writer, tmp_path / "side.png", 0.55)["reason"].endswith("; the class that is said has less than 0.6")
    assert report(writer, chest, 0.99)["reason"] is None


def test_a_calibration_of_other_classes_or_out_of_range_is_refused(
    tmp_path: Path, weights: Path, calibration: Calibration, picture: Path
) -> None:
    other = XrayClassWriter(str(tmp_path / "out"), ["no", "yes"], checkpoint=str(weights))
    with pytest.raises(WeightsError, match="trained for"):
        report(other, picture, 0.7)
    point = dataclasses.replace(calibration.operating_point, threshold=1.2)
    dataclasses.replace(calibration, operating_point=point).write(calibration_path(weights))
    with pytest.raises(UnreadableFileError, match="damaged"):
        report(XrayClassWriter(str(tmp_path / "out"), NAMES, checkpoint=str(weights)), picture, 0.7)


class Bright(torch.nn.Module):
    """Says pneumonia the more, the brighter a picture is: Grad-CAM must point to what is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.AvgPool2d(5, stride=1, padding=2)
        self.weight = torch.nn.Parameter(torch.tensor([[-1.0], [1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.encoder(x).mean(dim=(2, 3)) @ self.weight.T


def test_overlay_shows_where_the_network_looked(tmp_path: Path, picture: Path) -> None:
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES, network=Bright(), target_layer="encoder")
    files = writer.write_case("a", writer.read(picture), {"pred": torch.tensor([0.1, 0.9])})
    drawn = np.asarray(Image.open(files["overlay"])).astype(int)
    assert drawn.shape == (60, 180, 3)
    left, right = drawn[:, :90], drawn[:, 90:]
    assert (left[12:28, 52:78] == 220).all()
    changed = np.abs(left - right).sum(axis=2)
    assert changed[12:28, 52:78].mean() > changed[40:, :40].mean() + 20


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "resnet34", "densenet121", "googlenet", "alexnet", "framed"])
def test_its_heat_is_that_of_monais_grad_cam(architecture: str, tmp_path: Path) -> None:
    """MONAI's differentiates the whole network; and nothing is left behind in it."""
    torch.manual_seed(1)
    others = {"alexnet": SmallAlexNet, "framed": TwoViewClassifier}
    network = others[architecture]() if architecture in others else TransferClassifier(architecture)
    network.requires_grad_(architecture != "resnet34").train(architecture != "googlenet")  # whatever state it is in
    writer = PictureClassWriter(str(tmp_path), NAMES, network=network, target_layer="auto")
    layer = network.get_submodule(writer.target_layer or "")
    picture = torch.rand(1, 1, 96, 64)
    cam = GradCAM(nn_module=network, target_layers=writer.target_layer, postprocessing=lambda heat: heat)
    expected = [torch.as_tensor(cam(picture.clone().requires_grad_(), class_idx=index)).detach() for index in (0, 1)]
    layer._forward_hooks.clear()  # MONAI's stay, one a picture
    training = [module.training for module in network.modules()]
    with torch.no_grad():
        found = [writer.heat(picture, index) for index in (0, 1)]
        assert not torch.is_grad_enabled()
    assert max(float(heat.max()) for heat in expected) > 0
    for heat, monais in zip(found, expected, strict=True):
        torch.testing.assert_close(heat, monais, rtol=1e-4, atol=1e-5 * float(monais.max()))
    assert [module.training for module in network.modules()] == training
    assert not layer._forward_hooks


@pytest.mark.parametrize("network", ["mobilenet_v2", "resnet34", "densenet121", "googlenet", "alexnet", "framed"])
def test_heat_of_known_features_is_that_of_a_pass_of_its_own(network: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    others = {"alexnet": SmallAlexNet, "framed": TwoViewClassifier}
    built = (others[network]() if network in others else TransferClassifier(network)).eval()
    writer = XrayClassWriter(str(tmp_path), NAMES, network=built, target_layer="auto")
    passes = []
    built.get_submodule(writer.target_layer or "").register_forward_hook(lambda *args: passes.append(args[2].detach()))
    for seed in range(3):
        picture = torch.rand(1, 1, 96, 64, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            own = [writer.heat(picture, index) for index in (0, 1)]
            features, done = passes[-1], len(passes)
            given = [writer.heat(picture, index, features=features) for index in (0, 1)]
        for one, other in zip(own, given, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * float(one.max()))
        linear = network != "alexnet"  # whose dense layers know where a feature lies
        # asking whether the head is linear takes two, the first time
        assert len(passes) - done == (2 * (seed == 0) if linear else 2 + 2 * (seed == 0))


def test_overlay_shows_nothing_where_nothing_speaks_for_the_class(tmp_path: Path, picture: Path) -> None:
    network = Bright()
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES, network=network, target_layer="encoder")
    said_normal = {"pred": torch.tensor([0.9, 0.1])}  # and whatever is bright speaks against it
    files = writer.write_case("a", writer.read(picture), said_normal)
    drawn = np.asarray(Image.open(files["overlay"]))
    np.testing.assert_array_equal(drawn[:, :90], drawn[:, 90:])


@pytest.mark.parametrize(
    "network",
    [
        ChestCNN(as_two_classes=True),
        SmallAlexNet(),
        *(TransferClassifier(name) for name in ("mobilenet_v2", "densenet121", "resnet34", "googlenet")),
    ],
    ids=lambda each: f"{type(each).__name__}-{getattr(each, 'architecture', '')}",
)
def test_every_kind_of_network_has_a_layer_to_show(tmp_path: Path, picture: Path, network: torch.nn.Module) -> None:
    writer = XrayClassWriter(
        str(tmp_path / "out"), NAMES, network=network.eval(), target_layer="auto", image_size=[128, 128]
    )
    layer = dict(network.named_modules())[writer.target_layer]
    shapes = []
    layer.register_forward_hook(lambda _, __, output: shapes.append(output.shape))
    files = writer.write_case("a", writer.read(picture), {"pred": torch.tensor([0.1, 0.9])})
    assert Image.open(files["overlay"]).size == (180, 60)
    assert all(len(shape) == 4 and shape[2] > 1 for shape in shapes)
    assert shapes


def test_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no layer"):
        XrayClassWriter(str(tmp_path), NAMES, network=ChestCNN(), target_layer="encoder.0")


def test_what_a_framed_network_looked_at_is_reported_and_shown_there(tmp_path: Path, chest: Path) -> None:
    network = LungFramedClassifier().eval()
    found = torch.zeros(1, 1, 96, 96)
    found[0, 0, 24:44, 24:72] = found[0, 0, 52:72, 24:72] = 1
    network.frame.lungs = lambda x: found  # type: ignore[method-assign]
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES, network=network, target_layer="auto", image_size=(224, 224))
    assert report(writer, chest, 0.99)["lungs_frame_px"] == pytest.approx([20, 14, 70, 47], abs=2)
    given = torch.rand(1, 1, 96, 96)
    heat = sum(writer.heat(given, index)[0, 0] for index in (0, 1))  # of one class a random network may have none
    assert heat[:18].abs().max() == heat[78:].abs().max() == heat[:, :16].abs().max() == heat[:, 80:].abs().max() == 0
    assert heat[30:66, 30:66].abs().max() > 0


def test_of_two_views_the_framed_one_is_run_for_the_heat_and_it_is_the_same(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = TwoViewClassifier().eval()
    writer = XrayClassWriter(str(tmp_path), NAMES, network=network, target_layer="auto")
    given = torch.rand(1, 1, 96, 96)
    expected = [PictureClassWriter.logits(writer, given), PictureClassWriter.heat(writer, given, 0)]
    writer.logits = lambda x, known: PictureClassWriter.logits(writer, x)  # type: ignore[method-assign]
    whole = PictureClassWriter.heat(writer, given, 0)
    assert not torch.allclose(expected[0], writer.network.classifier(network.frame(given)))
    torch.testing.assert_close(expected[1] / expected[1].max(), whole / whole.max(), rtol=1e-4, atol=1e-5)


def test_a_picture_without_lungs_is_looked_at_whole_and_referred(tmp_path: Path, chest: Path) -> None:
    network = LungFramedClassifier().eval()
    network.frame.lungs = lambda x: torch.zeros(1, 1, 96, 96)  # type: ignore[method-assign]
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES, network=network, image_size=(224, 224))
    said = report(writer, chest, 0.99)
    assert said["lungs_frame_px"] is None
    assert said["refer"] is True
    assert "no two lungs were found" in said["reason"]


def test_what_another_thread_runs_meanwhile_changes_no_heat(tmp_path: Path) -> None:
    """A picture is drawn while the next is computed, by the same network."""
    torch.manual_seed(2)
    network = ChestCNN(as_two_classes=True).eval()
    writer = PictureClassWriter(str(tmp_path), NAMES, network=network, target_layer="auto")
    given, other = torch.rand(1, 1, 224, 224), torch.rand(1, 1, 224, 224)
    alone = [writer.heat(given, index) for index in (0, 1)]
    assert max(heat.max() for heat in alone) > 0
    said: list[torch.Tensor] = []

    def run() -> None:
        with torch.no_grad():
            said.append(network(other))

    def beside(x: torch.Tensor, known: object = None) -> torch.Tensor:
        found = PictureClassWriter.logits(writer, x)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found

    writer.logits = beside  # type: ignore[method-assign]
    for index in (0, 1):
        torch.testing.assert_close(writer.heat(given, index), alone[index])
    assert len(said) == 2
    assert not any(each.requires_grad for each in said)


def test_the_lungs_of_a_picture_are_looked_for_once(tmp_path: Path, chest: Path) -> None:
    torch.manual_seed(1)
    network = TwoViewClassifier().eval()
    find, looked = network.frame.lungs, []

    def lungs(x: torch.Tensor) -> torch.Tensor:
        looked.append(x.shape)
        return find(x)

    network.frame.lungs = lungs  # type: ignore[method-assign]
    writer = XrayClassWriter(str(tmp_path / "out"), NAMES, network=network, target_layer="auto", image_size=(224, 224))
    assert "lungs_frame_px" in report(writer, chest, 0.9)
    assert (tmp_path / "out" / "a_overlay.png").is_file()
    assert len(looked) == 1
