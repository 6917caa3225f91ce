"""What goes in and comes out: sizes padded to a multiple and cropped back, arguments checked, one logit as two."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the far border until every spatial size is a multiple.

    Padding the input once, and never a feature map, keeps skips and upsampled features the same size by construction,
    with no branch on the size: tracing and exporting with dynamic sizes both stay right.

    Args:
        x: B x C x H x W or B x C x H x W x D.
        multiple: what each spatial size shall divide by, at least 1.

    Returns:
        x grown by less than ``multiple`` at the end of each spatial axis; values there repeat the last row or column,
        since zeros would be an edge that the anatomy does not have.
    """
    padding: list[int] = []
    for axis in range(x.dim() - 1, 1, -1):  # torch wants the last axis first
        padding.append(0)
        padding.append((multiple - x.shape[axis] % multiple) % multiple)
    return nn.functional.pad(x, padding, mode="replicate")


def crop_to(x: Tensor, like: Tensor) -> Tensor:
    """Undo :func:`pad_to_multiple`: the leading part of x that has the spatial shape of ``like``."""
    for axis in range(2, x.dim()):
        x = x.narrow(axis, 0, like.shape[axis])
    return x


def check_arguments(
    spatial_dims: int, in_channels: int, out_channels: int, dropout: float, *, only_2d: bool = False
) -> None:
    """Refuse what no network here can be built with; with ``only_2d`` also what is not for pictures.

    Raises:
        ValueError: naming the argument, what it must be and what it was.
    """
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
    if only_2d and spatial_dims != 2:
        raise ValueError(f"spatial_dims must be 2 for this network, got {spatial_dims}")
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {channels!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")


def two_classes(logit: Tensor) -> Tensor:
    """One logit z (B x 1) as two (B x 2): (-z/2, z/2), whose softmax is (1 - sigmoid(z), sigmoid(z)).

    With (0, z) the first class would have no gradient, and Grad-CAM nothing to show for it.
    """
    return torch.cat([-0.5 * logit, 0.5 * logit], dim=1)


def check_two_classes(as_two_classes: bool, out_channels: int) -> None:
    """Refuse ``as_two_classes`` of a network with more than one logit.

    Raises:
        ValueError: naming the argument.
    """
    if as_two_classes and out_channels != 1:
        raise ValueError(f"as_two_classes needs out_channels 1, got {out_channels}")
