"""What every network promises, ours and the MONAI ones that bundles use. A new network adds one row to NETWORKS."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

import pipelines.networks

# Exported graphs sum in another order than eager; logits are of order 1, so this is float32 rounding and no more.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@dataclass(frozen=True)
class Promise:
    """What one network, built with its default arguments, must keep."""

    build: Callable[..., nn.Module]
    parameters: int
    out_channels: int = 3
    in_channels: int = 1
    smallest: int = 1  # smallest side of an input in eval mode
    any_size_when_traced: bool = True  # one trace, and one ONNX file, serves every size
    dense: bool = True  # logits have the spatial shape of the input; otherwise they are B x out_channels
    dropout: bool = True  # takes dropout= and validates it
    volumes: bool = True  # takes spatial_dims=3
    logits: bool = True  # an autoencoder gives pictures
    other_in_channels: int = 2  # another number of input channels that it takes


def _basic_unet(**arguments: Any) -> nn.Module:
    return BasicUNet(**({"spatial_dims": 2, "in_channels": 1, "out_channels": 3, "norm": "batch"} | arguments))


NETWORKS = {
    "LesionUNet": Promise(pipelines.networks.LesionUNet, parameters=7_762_531),
    "TinyUNet": Promise(pipelines.networks.TinyUNet, parameters=9_235),
    "SeverityResNet": Promise(pipelines.networks.SeverityResNet, parameters=11_175_683, dense=False),
    "SeverityShuffleNet": Promise(
        pipelines.networks.SeverityShuffleNet, parameters=345_371, dense=False, volumes=False
    ),
    "MobileNetV2UNet": Promise(
        pipelines.networks.MobileNetV2UNet, parameters=9_653_057, out_channels=1, in_channels=3, volumes=False
    ),
    "EncoderUNet": Promise(pipelines.networks.EncoderUNet, parameters=4_730_867, volumes=False, other_in_channels=3),
    "LungFramedClassifier": Promise(
        pipelines.networks.LungFramedClassifier,
        parameters=2_714_675,
        out_channels=2,
        smallest=32,
        dense=False,
        volumes=False,
        other_in_channels=3,
    ),
    "TwoViewClassifier": Promise(
        pipelines.networks.TwoViewClassifier,
        parameters=4_941_109,
        out_channels=2,
        smallest=32,
        dense=False,
        volumes=False,
        other_in_channels=3,
    ),
    "ChestCNN": Promise(
        pipelines.networks.ChestCNN,
        parameters=2_524_033,
        out_channels=1,
        any_size_when_traced=False,
        dense=False,
        volumes=False,
    ),
    "ConvAutoencoder": Promise(
        pipelines.networks.ConvAutoencoder, parameters=776_833, out_channels=1, volumes=False, logits=False
    ),
    "CodeClassifier": Promise(
        pipelines.networks.CodeClassifier,
        parameters=289_569,
        in_channels=256,
        out_channels=1,
        any_size_when_traced=False,
        dense=False,
        volumes=False,
    ),
    "EncodedClassifier": Promise(
        pipelines.networks.EncodedClassifier,
        parameters=1_066_402,
        out_channels=1,
        any_size_when_traced=False,
        dense=False,
        volumes=False,
    ),
    "AlexNet": Promise(
        pipelines.networks.AlexNet,
        parameters=56_996_546,
        out_channels=2,
        smallest=63,
        any_size_when_traced=False,
        dense=False,
        volumes=False,
    ),
    "SmallAlexNet": Promise(
        pipelines.networks.SmallAlexNet,
        parameters=5_374_466,
        out_channels=2,
        smallest=63,
        any_size_when_traced=False,
        dense=False,
        volumes=False,
    ),
    "VGG16Transfer": Promise(
        pipelines.networks.VGG16Transfer,
        parameters=31_558_209,
        out_channels=1,
        in_channels=3,
        smallest=32,
        any_size_when_traced=False,
        dense=False,
        volumes=False,
        other_in_channels=1,
    ),
    "TransferClassifier": Promise(
        pipelines.networks.TransferClassifier,
        parameters=2_226_434,  # MobileNetV2
        out_channels=2,
        dense=False,
        volumes=False,
        other_in_channels=3,
    ),
    # MONAI's, the default of the lung CT bundle; its padding branches on the size, so a trace holds for one size only
    "BasicUNet": Promise(_basic_unet, parameters=1_978_499, smallest=16, any_size_when_traced=False),
}
NOT_OURS = {"BasicUNet"}
# No images in or no classes out: test_dcgan.py, test_encoder_unet.py, test_lung_frame.py
OF_ANOTHER_KIND = {"DCGANDiscriminator", "DCGANGenerator", "EfficientNetLite0", "LungFrame"}
LONG_EXPORTS = {
    "ConvAutoencoder",
    "EncoderUNet",
    "LesionUNet",
    "LungFramedClassifier",
    "MobileNetV2UNet",
    "SeverityResNet",
    "SeverityShuffleNet",
    "TransferClassifier",
    "TwoViewClassifier",
}  # a minute with free sizes; bundles' exports of their own size are tested with them
LONG = (pytest.mark.slow, pytest.mark.thorough)

every_network = pytest.mark.parametrize("promise", NETWORKS.values(), ids=NETWORKS.keys())
our_networks = pytest.mark.parametrize("name", sorted(NETWORKS.keys() - NOT_OURS))
# The others' files hold one size, and the bundles' contract exports them so.
networks_of_any_size = pytest.mark.parametrize(
    "promise",
    [
        pytest.param(promise, id=name, marks=LONG if name in LONG_EXPORTS else ())
        for name, promise in NETWORKS.items()
        if promise.any_size_when_traced
    ],
)


def _ready(promise: Promise, **arguments: Any) -> nn.Module:
    """The network in eval mode, with norm statistics that are not the identity, so that losing them shows."""
    torch.manual_seed(0)
    network = promise.build(**arguments).eval()
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.8, 1.2)  # type: ignore[arg-type]
    return network


def _image(promise: Promise, *sides: int, batch: int = 1) -> Tensor:
    sides = tuple(max(side, promise.smallest) for side in sides)
    return torch.rand(batch, promise.in_channels, *sides, generator=torch.Generator().manual_seed(1))


def test_every_network_is_in_the_table() -> None:
    package = pipelines.networks
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.walk_packages(package.__path__)
    ]
    public = {
        name
        for module in (package, *modules)
        for name, thing in vars(module).items()
        if isinstance(thing, type)
        and issubclass(thing, nn.Module)
        and thing.__module__.startswith(package.__name__)
        and not name.startswith("_")
    }
    promised = NETWORKS.keys() - NOT_OURS
    assert public - OF_ANOTHER_KIND == promised, "add the network to NETWORKS, or start its name with an underscore"
    exported = {name for name in package.__all__ if isinstance(getattr(package, name), type)}
    assert public == exported, "export the network from pipelines.networks"


@every_network
def test_parameter_count(promise: Promise) -> None:
    assert sum(parameter.numel() for parameter in promise.build().parameters()) == promise.parameters


@every_network
@pytest.mark.parametrize("sides", [(153, 207), (64, 64), (16, 31), None], ids=str)
def test_output_shape(promise: Promise, sides: tuple[int, int] | None) -> None:
    sides = sides or (promise.smallest, promise.smallest)
    with torch.no_grad():
        logits = _ready(promise)(_image(promise, *sides))
    assert logits.shape == (1, promise.out_channels, *(sides if promise.dense else ()))
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@every_network
def test_output_is_logits(promise: Promise) -> None:
    with torch.no_grad():
        logits = _ready(promise)(_image(promise, 32, 32))
    if not promise.logits:
        assert ((logits > 0) & (logits < 1)).all(), "greys are 0..1"
        return
    # a single logit may be above 0 by chance
    assert (logits < 0).any() or logits.numel() == 1, "probabilities or labels came out"
    assert not torch.allclose(logits.sum(1), torch.ones(()), atol=1e-3)


@every_network
def test_backward_reaches_every_parameter(promise: Promise) -> None:
    torch.manual_seed(0)
    network = promise.build().train()
    network(_image(promise, 37, 51, batch=2)).square().mean().backward()
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # a convolution's bias before a batch norm is taken out again by it, hence weights alone
        assert parameter.grad.any() or name.endswith("bias"), name


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # BasicUNet's, see any_size_when_traced
@every_network
def test_traced_equals_eager(promise: Promise) -> None:
    network = _ready(promise)
    image, other = _image(promise, 37, 51), _image(promise, 40, 29, batch=2)
    with torch.no_grad():
        traced = torch.jit.trace(network, image)
        torch.testing.assert_close(traced(image), network(image), **TOLERANCE)
        if promise.any_size_when_traced:
            torch.testing.assert_close(traced(other), network(other), **TOLERANCE)


@every_network
def test_scripted_equals_eager(promise: Promise, tmp_path: Path) -> None:
    network = _ready(promise)
    torch.jit.script(network).save(tmp_path / "network.ts")
    scripted = torch.jit.load(tmp_path / "network.ts")
    for image in (_image(promise, 37, 51), _image(promise, 40, 29, batch=2)):
        with torch.no_grad():
            torch.testing.assert_close(scripted(image), network(image), **TOLERANCE)


@networks_of_any_size
def test_onnx_of_free_sizes_equals_eager(promise: Promise, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    network, image, other = _ready(promise), _image(promise, 37, 51, batch=2), _image(promise, 40, 29, batch=3)
    free = torch.export.Dim.DYNAMIC
    sizes = ({0: free, 2: free, 3: free},)
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, (image,), path, dynamo=True, dynamic_shapes=sizes, external_data=False, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for given in (image, other):
        (exported,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(exported, network(given).numpy(), **TOLERANCE)


@every_network
def test_save_and_load(promise: Promise, tmp_path: Path) -> None:
    network, image = _ready(promise), _image(promise, 37, 51)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(99)
    again = promise.build().eval()
    with torch.no_grad():
        assert not torch.equal(again(image), network(image))
        again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert torch.equal(again(image), network(image))


@every_network
def test_dropout_acts_in_training_only_and_keeps_the_keys(promise: Promise) -> None:
    if not promise.dropout:
        pytest.skip("this network has no dropout argument")
    network, image = _ready(promise, dropout=0.5), _image(promise, 32, 32, batch=2)
    network.load_state_dict(_ready(promise).state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network(image), _ready(promise)(image), **TOLERANCE)
        network.train()
        assert not torch.equal(network(image), network(image))


@our_networks
@pytest.mark.parametrize(
    "argument",
    [
        {"dropout": -0.1},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"in_channels": 0},
        {"out_channels": 1.5},
        {"spatial_dims": 4},
    ],
    ids=str,
)
def test_bad_arguments_are_named(name: str, argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        NETWORKS[name].build(**argument)


@our_networks
def test_volumes_and_channels(name: str) -> None:
    promise = NETWORKS[name]
    least = promise.smallest if not promise.dense else 1
    sides = (9, 16, 5) if promise.volumes else (max(9, least), max(16, least))
    channels = promise.other_in_channels
    network = promise.build(spatial_dims=len(sides), in_channels=channels, out_channels=4).eval()
    with torch.no_grad():
        assert network(torch.rand(1, channels, *sides)).shape == (1, 4, *(sides if promise.dense else ()))
    if not promise.volumes:
        with pytest.raises(ValueError, match="spatial_dims"):
            promise.build(spatial_dims=3)


@our_networks
def test_padding_changes_nothing_where_it_is_not_needed(name: str) -> None:
    """An input that the network's multiple divides gives what the same pixels give inside a padded one's interior."""
    promise = NETWORKS[name]
    if not promise.dense:
        pytest.skip("a network without a map of logits pads nothing")
    network, image = _ready(promise), _image(promise, 48, 64)
    by_hand = nn.functional.pad(image[..., :47, :], (0, 0, 0, 1), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(network(image[..., :47, :]), network(by_hand)[..., :47, :], **TOLERANCE)
