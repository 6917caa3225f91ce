"""From the picture by its code to the class: what is held still, which weights it takes, how far off a code lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import WeightsError
from pipelines.networks import ChestCNN, CodeClassifier, ConvAutoencoder, EncodedClassifier, prepare_encoder
from pipelines.weights import save_weights


def test_the_code_of_the_reference(tmp_path: Path) -> None:
    network = ConvAutoencoder().eval()
    with torch.no_grad():
        code = network.encode(torch.rand(2, 1, 224, 224))
        assert code.shape == (2, 256, 14, 14)
        assert network.decode(code).shape == (2, 1, 224, 224)
        assert CodeClassifier().eval()(code).shape == (2, 1)
        assert CodeClassifier(as_two_classes=True).eval()(code).shape == (2, 2)


def test_codes_give_what_their_pictures_give() -> None:
    network, pictures = EncodedClassifier(as_two_classes=True).eval(), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(network.features(pictures), encoded=True), network(pictures))


@pytest.mark.parametrize("index", [0, 1])
def test_each_class_has_features_that_speak_for_it(index: int) -> None:
    """One logit as (0, z) has no gradient of the first class: Grad-CAM of a normal picture was always empty."""
    picture = torch.rand(1, 1, 64, 64, requires_grad=True)
    EncodedClassifier(as_two_classes=True).eval()(picture)[0, index].backward()
    assert picture.grad is not None
    assert picture.grad.any()


def test_the_autoencoder_does_not_learn_whatever_is_called() -> None:
    network = EncodedClassifier().train()
    assert not any(each.training for each in network.autoencoder.modules())
    assert all(each.training for each in network.classifier.modules())
    before = {key: value.clone() for key, value in network.autoencoder.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    network(torch.rand(4, 1, 32, 32)).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in network.autoencoder.state_dict().items())
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 289_569


@pytest.mark.parametrize("whole", [False, True], ids=["autoencoder", "classifier"])
def test_it_takes_an_autoencoder_from_either_file(tmp_path: Path, whole: bool) -> None:
    torch.manual_seed(0)
    given = EncodedClassifier() if whole else ConvAutoencoder()
    save_weights(given, tmp_path / "given.safetensors")
    network = EncodedClassifier()
    classifier = {key: value.clone() for key, value in network.classifier.state_dict().items()}
    prepare_encoder(network, str(tmp_path / "given.safetensors"), None, True)
    wanted = (given.autoencoder if isinstance(given, EncodedClassifier) else given).state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in network.autoencoder.state_dict().items())
    assert all(torch.equal(value, classifier[key]) for key, value in network.classifier.state_dict().items())


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    save_weights(ChestCNN(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not those of ConvAutoencoder"):
        EncodedClassifier().prepare_encoder(tmp_path / "other.safetensors")
    for wrong in ({"pretrained": True}, {"freeze_encoder": False}):
        with pytest.raises(ValueError, match="does not learn"):
            EncodedClassifier().prepare_encoder(**wrong)


def test_distance_worked_out_by_hand() -> None:
    network = EncodedClassifier()
    codes = torch.zeros(2, 256, 3, 3)
    codes[0, 0], codes[1, 1] = 3.0, 4.0
    codes[1, 2, 0, 0] = 9.0  # its mean over nine places is 1
    assert network.code_distance(codes).tolist() == [0, 0]
    precision = torch.eye(256)
    precision[1, 1] = 0.25
    mean = torch.zeros(256)
    mean[0] = 1.0
    network.fit_codes(mean, precision)
    expected = [2.0, np.sqrt(1 + 16 * 0.25 + 1)]
    np.testing.assert_allclose(network.code_distance(codes).numpy(), expected, rtol=1e-6)
