"""Where the lungs lie in a frontal chest X-ray: a small network, the frame around what it finds, and a classifier that
sees nothing but that frame."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, max_pool2d

from pipelines.errors import WeightsError
from pipelines.networks.pretrained import hold_still
from pipelines.networks.transfer import TransferClassifier
from pipelines.weights import read_weights

LUNGS = Path(__file__).with_name("lungs.safetensors")  # benchmarks/chest_lungs.py makes them
LUNG_SIZE = 96  # pixels a side of what the lung network sees


def lung_network() -> nn.Module:
    """A BasicUNet (MONAI) of 488,241 parameters: logits (B x 1 x 96 x 96) of lung in pictures (B x 1 x 96 x 96)."""
    return BasicUNet(
        spatial_dims=2, in_channels=1, out_channels=1, features=(8, 16, 32, 64, 128, 8), norm="batch", dropout=0.0
    )


def lung_picture(x: Tensor, size: int = LUNG_SIZE) -> Tensor:
    """What the lung network sees, B x 1 x 96 x 96, of pictures B x 1 or 3 x W x H."""
    return interpolate(avg_pool2d(x.mean(1, keepdim=True), 2), [size, size], mode="bilinear")


class LungFrame(nn.Module):
    """Crops chest X-rays to the box around both lungs, and blanks what lies outside them if told to.

    It holds still: it has no gradients and stays in evaluation mode. Where no two lungs are found the whole picture is
    kept; ``boxes`` says so.

    Args:
        margin: what is kept around the lungs at each side, as part of the box.
        mask: what lies beside the lungs (and not between them) becomes grey.

    Raises:
        ValueError: the margin is below 0 or above 1.
    """

    def __init__(self, margin: float = 0.06, mask: bool = False) -> None:
        super().__init__()
        if not 0 <= margin <= 1:
            raise ValueError(f"margin must be from 0 to 1, got {margin}")
        self.margin, self.mask = margin, mask
        # both lungs together cover 15 to 60 % of a chest X-ray, and each has at least a quarter of that
        self.least_area, self.least_side, self.least_lung = 0.06, 0.25, 0.12
        self.network = lung_network()
        self.requires_grad_(False)
        self.train(False)

    def load(self, path: Path) -> None:
        """Take the lung network's weights, of any precision.

        Raises:
            UnreadableFileError, WeightsError: there are none, or they are another network's.
        """
        state = {key: value.float() for key, value in read_weights(path).items()}
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(
                f"the weights are not those of the lung network ({str(error).splitlines()[1].strip()})",
                where=str(path),
                how="benchmarks/chest_lungs.py makes them",
            ) from error

    def train(self, mode: bool = True) -> LungFrame:
        """As ``nn.Module.train``, but it stays in evaluation mode."""
        super().train(mode)
        hold_still(self, frozen=True, hold_norm=True)
        return self

    def lungs(self, x: Tensor) -> Tensor:
        """Probability of lung, B x 1 x 96 x 96, of pictures B x 1 or 3 x W x H, 0..1."""
        return self.probabilities(self.network(lung_picture(x)))

    @staticmethod
    def probabilities(logits: Tensor) -> Tensor:
        """What ``lungs`` gives, of the lung network's answer."""
        return logits.float().sigmoid()

    def boxes(self, lungs: Tensor) -> tuple[Tensor, Tensor]:
        """The box around both lungs.

        Args:
            lungs: B x 1 x S x S, see ``lungs``.

        Returns:
            B x 4, its edges in parts of the picture, first and last along the first and along the second spatial axis,
            margin and all, 0..1; and B, bool, whether lungs were found. Where they were not it is 0, 1, 0, 1.
        """
        area = (lungs[:, 0] > 0.5).float()
        edges: list[Tensor] = []
        spread: list[Tensor] = []
        for along in (area.sum(2), area.sum(1)):
            part = along.cumsum(1) / along.sum(1, keepdim=True).clamp(min=1)
            # a hundredth may lie outside: specks that are no lung
            first, last = (part < 0.005).float().mean(1), (part < 0.995).float().mean(1)
            spread.append(last - first)
            edges.append(first - self.margin * (last - first))
            edges.append(last + self.margin * (last - first))
        box = torch.stack(edges, 1).clamp(0, 1)
        # the side of a body is known by the columns (the first axis of a picture that is held W x H)
        place = torch.linspace(0, 1, area.shape[1], device=area.device)[None, :, None]
        left = (area * (place < (box[:, 0] + box[:, 1])[:, None, None] / 2).float()).mean((1, 2))
        whole = area.mean((1, 2))
        one_sided = torch.minimum(left, whole - left) < self.least_lung * whole
        sides = torch.minimum(spread[0], spread[1])
        found = (whole >= self.least_area) & ~one_sided & (sides >= self.least_side)
        everything = torch.tensor([0.0, 1.0, 0.0, 1.0], device=box.device)
        return torch.where(found[:, None], box, everything), found

    def forward(self, x: Tensor, lungs: Tensor | None = None) -> Tensor:
        """Pictures B x 1 or 3 x W x H, 0..1, cropped to their lungs, at the same size; ``lungs`` where they are
        known."""
        with torch.no_grad():
            lungs = self.lungs(x) if lungs is None else lungs
            box, found = self.boxes(lungs)
        grid = box_grid(box, x.shape[2], x.shape[3])
        framed = grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        if self.mask:
            near = max_pool2d(between(lungs), 7, 1, 3)
            near = torch.where(found[:, None, None, None], near, torch.ones_like(near))
            seen = grid_sample(near, grid, mode="bilinear", padding_mode="border", align_corners=False)
            framed = 0.5 + (framed - 0.5) * seen
        return framed

    def unframed(self, values: Tensor, box: Tensor) -> Tensor:
        """What was found in a frame, B x 1 x W x H, where it lies in the picture, at the same size; 0 beside it."""
        grid = inverse_grid(box, values.shape[2], values.shape[3])
        return grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def inverse_grid(box: Tensor, width: int, height: int) -> Tensor:
    """Where ``grid_sample`` finds the places of a picture in its frame: B x W x H x 2, beyond -1..1 outside."""
    return _grid(
        (_places(width, box) - box[:, :1]) / (box[:, 1:2] - box[:, :1]).clamp(min=1e-6),
        (_places(height, box) - box[:, 2:3]) / (box[:, 3:] - box[:, 2:3]).clamp(min=1e-6),
    )


def box_grid(box: Tensor, width: int, height: int) -> Tensor:
    """Where ``grid_sample`` finds a box (B x 4, parts of the picture) of pictures: B x W x H x 2."""
    return _grid(
        box[:, :1] + _places(width, box) * (box[:, 1:2] - box[:, :1]),
        box[:, 2:3] + _places(height, box) * (box[:, 3:] - box[:, 2:3]),
    )


def _places(number: int, box: Tensor) -> Tensor:
    """The middles of a side's pixels, 1 x number, 0..1."""
    return (torch.arange(number, device=box.device)[None] + 0.5) / number


def _grid(x: Tensor, y: Tensor) -> Tensor:
    """B x W and B x H of 0..1, as the places of W x H pixels that ``grid_sample`` takes."""
    return torch.stack([y[:, None].expand(-1, x.shape[1], -1), x[:, :, None].expand(-1, -1, y.shape[1])], 3) * 2 - 1


def between(lungs: Tensor) -> Tensor:
    """The lungs and what lies between them, 0 or 1, B x 1 x W x H: in each row from the first lung to the last."""
    area = (lungs > 0.5).float()
    begun = (area.cumsum(2) > 0).float()
    left = (area.sum(2, keepdim=True) - area.cumsum(2) + area > 0).float()
    return begun * left


class LungFramedClassifier(nn.Module):
    """A ``TransferClassifier`` that sees no more of a chest X-ray than ``LungFrame`` leaves.

    The frame's weights are part of its own, so that whoever holds the file frames as training did.

    Args:
        architecture, spatial_dims, in_channels, out_channels, dropout, pretrained, freeze_encoder, hold_norm: as
            ``TransferClassifier``.
        lungs: weights of the lung network, a file; None: those that come with this package.
        margin, mask: as ``LungFrame``.

    Raises:
        ValueError: an argument is out of its range.
        UnreadableFileError, WeightsError: weights cannot be had, or are another network's.
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
        lungs: str | Path | None = None,
        margin: float = 0.06,
        mask: bool = False,
    ) -> None:
        super().__init__()
        self.frame = LungFrame(margin, mask)
        self.classifier = TransferClassifier(
            architecture, spatial_dims, in_channels, out_channels, dropout, pretrained, freeze_encoder, hold_norm
        )
        self.frame.load(LUNGS if lungs is None else Path(lungs))

    def prepare_encoder(
        self, pretrained: bool | str | Path = False, freeze_encoder: bool | int = False, hold_norm: bool = False
    ) -> LungFramedClassifier:
        """As ``TransferClassifier.prepare_encoder``."""
        self.classifier.prepare_encoder(pretrained, freeze_encoder, hold_norm)
        return self

    def features(self, x: Tensor) -> Tensor:
        """The flat features (B x N) of what is framed of B x in_channels x W x H, float, 0..1."""
        return self.classifier.features(self.frame(x))

    def forward(self, x: Tensor, encoded: bool = False) -> Tensor:
        """Logits (B x out_channels) of B x in_channels x W x H, float, at least 32 pixels a side, 0..1; or, where it is
        ``encoded``, of features."""
        return self.classify(x if encoded else self.features(x))

    def classify(self, features: Tensor) -> Tensor:
        """Logits of features."""
        return self.classifier.classify(features)


class TwoViewClassifier(LungFramedClassifier):
    """Two ``TransferClassifier``, of the frame around the lungs and of the whole picture; their logits are averaged.

    The one cannot be led by what lies beside the lungs, the other sees the lungs in their place; they err on different
    pictures.

    Args:
        **arguments: as ``LungFramedClassifier``; what is said of the encoder holds for both.

    Raises:
        ValueError, UnreadableFileError, WeightsError: as ``LungFramedClassifier``.
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
        lungs: str | Path | None = None,
        margin: float = 0.06,
        mask: bool = False,
    ) -> None:
        super().__init__(
            architecture, spatial_dims, in_channels, out_channels, dropout, lungs=lungs, margin=margin, mask=mask
        )
        framed = self.classifier
        del self.classifier
        self.whole = TransferClassifier(architecture, spatial_dims, in_channels, out_channels, dropout)
        self.classifier = framed  # the last of the two: Grad-CAM shows its last features
        self.prepare_encoder(pretrained, freeze_encoder, hold_norm)

    def prepare_encoder(
        self, pretrained: bool | str | Path = False, freeze_encoder: bool | int = False, hold_norm: bool = False
    ) -> TwoViewClassifier:
        """As ``TransferClassifier.prepare_encoder``, of both."""
        for network in (self.whole, self.classifier):
            network.prepare_encoder(pretrained, freeze_encoder, hold_norm)
        return self

    def features(self, x: Tensor) -> Tensor:
        """The flat features (B x 2 N) of the frame and of the whole of B x in_channels x W x H, float, 0..1."""
        return torch.cat([self.classifier.features(self.frame(x)), self.whole.features(x)], 1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits of features."""
        framed, whole = features.chunk(2, 1)
        return (self.classifier.classify(framed) + self.whole.classify(whole)) / 2
