"""Classifiers on encoders that were trained on ImageNet, for grey or colour pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pipelines.errors import WeightsError
from pipelines.networks.pretrained import add_statistics, hold_still, pretrained_state
from pipelines.networks.sizes import check_arguments, check_two_classes, two_classes
from pipelines.networks.torchvision_import import models

_GOOGLENET = (
    "conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3", "inception4a",
    "inception4b", "inception4c", "inception4d", "inception4e", "maxpool4", "inception5a", "inception5b", "avgpool",
)  # fmt: skip
_HEADS = ("fc.", "classifier.", "aux1.", "aux2.")


def _flat(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Flatten())


@dataclass(frozen=True)
class Architecture:
    """One of torchvision's networks: how it is built, where its weights are, and how it comes apart.

    Attributes:
        build: the network, without weights.
        url: of its ImageNet weights.
        encoder: from the network to what gives a flat vector of features.
        features: length of that vector.
        head: the network's own classifier of it, its last layer replaced; None for a single dense layer.
    """

    build: Callable[[], Any]
    url: str
    encoder: Callable[[Any], nn.Module]
    features: int
    head: Callable[[Any, int, float], nn.Module] | None = None


def _pooled(network: Any) -> nn.Module:
    return _flat(network.features, nn.AdaptiveAvgPool2d(1))


def _residual(network: Any) -> nn.Module:
    return _flat(*(layer for name, layer in network.named_children() if name != "fc"))


def _densenet(network: Any) -> nn.Module:
    return _flat(network.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1))


def _googlenet(network: Any) -> nn.Module:
    return _flat(*(getattr(network, name) for name in _GOOGLENET))


def _vgg(network: Any) -> nn.Module:
    return _flat(network.features, network.avgpool)


def _vgg_head(network: Any, out_channels: int, dropout: float) -> nn.Module:
    kept = [nn.Dropout(dropout) if isinstance(layer, nn.Dropout) else layer for layer in list(network.classifier)[:-1]]
    return nn.Sequential(*kept, nn.Linear(4096, out_channels))


ARCHITECTURES: Mapping[str, Architecture] = {
    "mobilenet_v2": Architecture(models.mobilenet_v2, models.MobileNet_V2_Weights.IMAGENET1K_V2.url, _pooled, 1280),
    "efficientnet_b0": Architecture(
        models.efficientnet_b0, models.EfficientNet_B0_Weights.IMAGENET1K_V1.url, _pooled, 1280
    ),
    "densenet121": Architecture(models.densenet121, models.DenseNet121_Weights.IMAGENET1K_V1.url, _densenet, 1024),
    "resnet34": Architecture(models.resnet34, models.ResNet34_Weights.IMAGENET1K_V1.url, _residual, 512),
    "resnet50": Architecture(models.resnet50, models.ResNet50_Weights.IMAGENET1K_V2.url, _residual, 2048),
    "googlenet": Architecture(
        lambda: models.googlenet(weights=None, aux_logits=False, init_weights=True),
        models.GoogLeNet_Weights.IMAGENET1K_V1.url,
        _googlenet,
        1024,
    ),
    "vgg19": Architecture(models.vgg19, models.VGG19_Weights.IMAGENET1K_V1.url, _vgg, 25088, _vgg_head),
}


class TransferClassifier(nn.Module):
    """One of torchvision's networks with a classifier of its own.

    Grey pictures are repeated to three channels, and pixels normalised with ImageNet's statistics in here, so that
    whoever holds the weights cannot forget it. A frozen encoder has no gradients and stays in evaluation mode, its norm
    layers too, whatever ``train()`` is called: its features of a picture are then always the same, and may be kept.

    Args:
        architecture: a key of ``ARCHITECTURES``.
        spatial_dims: 2, the only one there is.
        in_channels: 1 (grey) or 3.
        out_channels: classes.
        dropout: before the last layer (VGG-19: within its classifier), 0 (none) to below 1.
        pretrained: ImageNet weights of the encoder: True fetches torchvision's, False is random, or the path of a file
            with torchvision's keys (its classifier is not used).
        freeze_encoder: the encoder does not learn; or how many of its first layers do not (MobileNetV2 has 19: of 7,
            which see no more than eighths of the picture's size, a step takes a third of its time).
        hold_norm: the encoder's norm layers keep their statistics while the rest of it learns.

    Raises:
        ValueError: an argument is out of its range.
        UnreadableFileError, WeightsError: the pretrained weights cannot be had, or are another network's.
    """

    def __init__(
        self,
        architecture: str = "mobilenet_v2",
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        dropout: float = 0.2,
        pretrained: bool | str | Path = False,
        freeze_encoder: bool | int = False,
        hold_norm: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        _check_colours(in_channels)
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
        self.architecture = architecture
        self.in_channels = in_channels
        known = ARCHITECTURES[architecture]
        network = known.build()
        self.encoder = known.encoder(network)
        self.classifier = (
            nn.Sequential(nn.Dropout(dropout), nn.Linear(known.features, out_channels))
            if known.head is None
            else known.head(network, out_channels, dropout)
        )
        add_statistics(self)
        self.freeze_encoder: bool | int = False
        self.hold_norm = False
        self.prepare_encoder(pretrained, freeze_encoder, hold_norm)

    def prepare_encoder(
        self, pretrained: bool | str | Path = False, freeze_encoder: bool | int = False, hold_norm: bool = False
    ) -> TransferClassifier:
        """Set what the constructor's arguments of these names say, on a network that is there; returns it."""
        known = ARCHITECTURES[self.architecture]
        state = pretrained_state(pretrained, known.url)
        if state is not None:
            network = known.build()
            _load(network, state, self.architecture, known.url if pretrained is True else str(pretrained))
            self.encoder.load_state_dict(known.encoder(network).state_dict())
        layers = self._layers()
        if freeze_encoder is not True and not 0 <= freeze_encoder <= len(layers):
            raise ValueError(f"freeze_encoder must be true, false or 0 to {len(layers)} layers, got {freeze_encoder}")
        self.freeze_encoder = freeze_encoder
        self.hold_norm = hold_norm
        self.encoder.requires_grad_(freeze_encoder is not True)
        for layer in layers[: int(freeze_encoder)]:
            layer.requires_grad_(False)
        return self.train(self.training)

    def _layers(self) -> list[nn.Module]:
        """The encoder's layers from the picture on."""
        first = next(self.encoder.children())
        return [*(first.children() if isinstance(first, nn.Sequential) else self.encoder.children())]

    def train(self, mode: bool = True) -> TransferClassifier:
        """As ``nn.Module.train``, but what is frozen or held stays in evaluation mode."""
        super().train(mode)
        hold_still(self.encoder, self.freeze_encoder is True, self.hold_norm)
        if self.freeze_encoder is not True:
            for layer in self._layers()[: int(self.freeze_encoder)]:
                hold_still(layer, True, self.hold_norm)
        return self

    def features(self, x: Tensor) -> Tensor:
        """The flat features (B x N) of B x in_channels x H x W, float, 0..1; one channel becomes three on the way."""
        return self.encoder((x - self.mean) / self.std)  # type: ignore[operator]

    def forward(self, x: Tensor, encoded: bool = False) -> Tensor:
        """Logits (B x out_channels) of B x in_channels x H x W, float, at least 32 pixels a side, 0..1; or, where they
        are ``encoded``, of their features."""
        return self.classify(x if encoded else self.features(x))

    def classify(self, features: Tensor) -> Tensor:
        """Logits of features."""
        return self.classifier(features)


class VGG16Transfer(nn.Module):
    """VGG-16's convolutions, frozen, and three dense layers; docs/reference/networks.md.

    31,558,209 parameters, of which 16,843,521 learn. Source: Simonyan and Zisserman, https://arxiv.org/abs/1409.1556.
    Drawn for 256x256; another size is averaged to the 8x8 features that the dense layers were made for. Grey pictures
    are repeated to three channels, and pixels normalised with ImageNet's statistics in here.

    Args:
        spatial_dims: 2, the only one there is.
        in_channels: 1 (grey) or 3.
        out_channels: logits; 1 is pneumonia or not.
        dropout: before each dense layer but the first, 0 (none) to below 1.
        pretrained, freeze_encoder: as ``TransferClassifier``.
        as_two_classes: the one logit z comes out as (-z/2, z/2), whose softmax is that of two classes.

    Raises:
        ValueError: an argument is out of its range.
        UnreadableFileError, WeightsError: the pretrained weights cannot be had, or are another network's.
    """

    frozen_by_design = True  # the encoder does not learn where nobody says that it shall

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        dropout: float = 0.3,
        pretrained: bool | str | Path = False,
        freeze_encoder: bool = True,
        as_two_classes: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, in_channels, out_channels, dropout, only_2d=True)
        _check_colours(in_channels)
        check_two_classes(as_two_classes, out_channels)
        self.as_two_classes = as_two_classes
        self.in_channels = in_channels
        self.encoder = _flat(models.vgg16(weights=None).features, nn.AdaptiveAvgPool2d(8))
        self.classifier = nn.Sequential(
            nn.Linear(8 * 8 * 512, 512), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(512, 128), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(128, out_channels),
        )  # fmt: skip
        add_statistics(self)
        self.prepare_encoder(pretrained, freeze_encoder)

    def prepare_encoder(
        self, pretrained: bool | str | Path = False, freeze_encoder: bool = True, hold_norm: bool = False
    ) -> VGG16Transfer:
        """As ``TransferClassifier.prepare_encoder``; VGG-16 has no norm layers to hold."""
        url = models.VGG16_Weights.IMAGENET1K_V1.url
        state = pretrained_state(pretrained, url)
        if state is not None:
            network = models.vgg16(weights=None)
            _load(network, state, "vgg16", url if pretrained is True else str(pretrained))
            self.encoder.load_state_dict(_flat(network.features, nn.AdaptiveAvgPool2d(8)).state_dict())
        self.encoder.requires_grad_(not freeze_encoder)
        return self

    def features(self, x: Tensor) -> Tensor:
        """The flat features (B x 32768) of B x in_channels x H x W, float, 0..1; one channel becomes three."""
        return self.encoder((x - self.mean) / self.std)  # type: ignore[operator]

    def forward(self, x: Tensor, encoded: bool = False) -> Tensor:
        """Logits (B x out_channels, or B x 2) of B x in_channels x H x W, float, at least 32 pixels a side, 0..1; or,
        where they are ``encoded``, of their features."""
        return self.classify(x if encoded else self.features(x))

    def classify(self, features: Tensor) -> Tensor:
        """Logits of features."""
        logits = self.classifier(features)
        return two_classes(logits) if self.as_two_classes else logits


def _check_colours(in_channels: int) -> None:
    if in_channels not in (1, 3):
        raise ValueError(f"in_channels must be 1 or 3 for an encoder that was trained on RGB, got {in_channels}")


def _load(network: nn.Module, state: Mapping[str, Tensor], architecture: str, where: str) -> None:
    """Load a torchvision state dict but for its classifier and GoogLeNet's two auxiliary ones.

    Raises:
        WeightsError: it is another network's.
    """
    own = network.state_dict()
    kept = {key: value for key, value in state.items() if not key.startswith(_HEADS)}
    wanted = {key for key in own if not key.startswith(_HEADS) and not key.endswith("num_batches_tracked")}
    missing = sorted(wanted - kept.keys())
    shapes = sorted(key for key in wanted & kept.keys() if own[key].shape != kept[key].shape)
    extra = sorted(kept.keys() - own.keys())
    if missing or shapes or extra:
        raise WeightsError(
            f"the weights are not those of {architecture}: {len(missing)} tensors missing, {len(extra)} unknown, "
            f"{len(shapes)} of another shape ({(missing + extra + shapes)[0]} for one)",
            where=where,
            how=f"give a file with torchvision's keys of {architecture}",
        )
    network.load_state_dict(kept, strict=False)
