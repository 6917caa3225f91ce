"""Precision and recall of each class, counted by bins while validation runs: a few numbers, whatever it goes over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch
from monai.transforms import SpatialResample
from numpy.typing import NDArray

BINS = 127  # thresholds of a curve, as many as TensorBoard's own
_SIDE = 128  # voxels a side that are counted of a case: of a larger one each second, third …


@dataclass(frozen=True)
class Curve:
    """Counts at ``BINS`` thresholds from 0 to 1: what is predicted from each threshold on.

    Attributes:
        counts: (4, BINS): true positives, false positives, true negatives, false negatives.
    """

    counts: NDArray[np.float64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """(BINS,); 1 where nothing is predicted."""
        right, wrong = self.counts[0], self.counts[1]
        return np.where(right + wrong > 0, right / np.maximum(right + wrong, 1), 1.0)

    @property
    def recall(self) -> NDArray[np.float64]:
        """(BINS,)."""
        return self.counts[0] / np.maximum(self.counts[0] + self.counts[3], 1)


class ClassCounts:
    """For each class, how many items (pictures, slices, voxels) have a probability in each bin, by their truth.

    Args:
        names: of the classes, by the value that a label has. Of a segmentation, value 0 is background, and has no
            curve.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = dict(names)
        self._counts: dict[int, NDArray[np.float64]] = {}

    def add(self, probabilities: torch.Tensor, truth: torch.Tensor, values: Mapping[int, int]) -> None:
        """Count items.

        Args:
            probabilities: (K, N), 0..1. truth: (N,) values of labels; below 0: not counted.
            values: for each channel that is counted, the label's value.
        """
        known = truth >= 0
        for channel, value in values.items():
            if value not in self.names:
                continue
            which = (probabilities[channel][known].float().clamp(0, 1) * (BINS - 1)).long()
            true = (truth[known] == value).long()
            found = torch.bincount(which + BINS * true, minlength=2 * BINS).cpu().numpy().reshape(2, BINS)
            self._counts[value] = self._counts.get(value, np.zeros((2, BINS))) + found

    def curves(self) -> dict[str, Curve]:
        """By class; one that no item is of has none, and neither has one that all are of."""
        found = {}
        for value, (false, true) in sorted(self._counts.items()):
            if not true.sum() or not false.sum():
                continue
            above = [np.cumsum(each[::-1])[::-1] for each in (true, false)]
            counts = np.stack([*above, false.sum() - above[1], true.sum() - above[0]])
            found[self.names[value]] = Curve(counts)
        return found


def count_forward(counts: ClassCounts, output: Mapping[str, Any]) -> None:
    """Count what a network answered to a batch, before anything is made of it.

    Args:
        counts: they go here.
        output: ``pred``: logits, (B, K) or (B, K, Z) of classes, (B, K, ...) of voxels on the grid of ``image``; with
            ``label``: (B,) or (B, Z) classes, or (B, 1, ...) a label map on any grid. What has another form (labels
            instead of logits, no label) is left out.
    """
    logits, label = output.get("pred"), output.get("label")
    if not isinstance(logits, torch.Tensor) or not isinstance(label, torch.Tensor) or not logits.is_floating_point():
        return
    logits = _plain(logits)
    if label.ndim < logits.ndim and logits.ndim <= 3:
        flat = logits.movedim(1, 0).reshape(logits.shape[1], -1)
        truth = _plain(label).reshape(-1)
        if flat.shape[1] == len(truth):
            counts.add(flat.softmax(dim=0), truth, {k: k for k in range(len(flat))})
    elif label.ndim == logits.ndim >= 4:
        probabilities = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
        for case, each in enumerate(probabilities):
            steps = strides(each.shape[1:])
            drawn = truth_on_grid(output, case, each.shape[1:], steps)
            if drawn is not None:
                count_voxels(counts, thinned(each, steps), drawn)


def count_voxels(counts: ClassCounts, probabilities: torch.Tensor, truth: torch.Tensor) -> None:
    """Count voxels: probabilities (K, ...) with a truth (...); one channel is that of the first value above 0."""
    flat = probabilities.reshape(probabilities.shape[0], -1)
    first = min((value for value in counts.names if value > 0), default=1)
    values = {0: first} if len(flat) == 1 else {k: k for k in range(1, len(flat))}
    counts.add(flat, truth.reshape(-1).long().to(flat.device), values)


def strides(shape: torch.Size | tuple[int, ...]) -> tuple[int, ...]:
    """Each how many-th voxel is counted, by axis."""
    return tuple(-(-side // _SIDE) for side in shape)


def thinned(values: torch.Tensor, steps: tuple[int, ...]) -> torch.Tensor:
    """Each so many-th voxel of (K, ...)."""
    return values[(slice(None), *(slice(None, None, step) for step in steps))]


def truth_on_grid(
    output: Mapping[str, Any], case: int, shape: torch.Size | tuple[int, ...], steps: tuple[int, ...]
) -> torch.Tensor | None:
    """The label map of one case of a batch, at each so many-th voxel of its image: preprocessing may have turned,
    cropped and resampled that, and the label lies where it was drawn. None where its place cannot be told."""
    image, label = (decollate_batch(output[key])[case] for key in ("image", "label"))
    alike = tuple(label.shape[1:]) == tuple(shape)
    if not isinstance(image, MetaTensor) or not isinstance(label, MetaTensor):
        return thinned(_plain(label), steps)[0] if alike else None
    if alike and torch.allclose(image.affine.cpu().double(), label.affine.cpu().double(), atol=1e-4):
        return thinned(_plain(label), steps)[0]
    if tuple(image.shape[1:]) != tuple(shape) or len(shape) != 3 or label.ndim != 4:
        return None
    affine = image.affine.cpu().double() @ torch.diag(torch.tensor([*map(float, steps), 1.0], dtype=torch.float64))
    size = [len(range(0, side, step)) for side, step in zip(shape, steps, strict=True)]
    place = SpatialResample(mode="nearest", padding_mode="zeros", dtype=np.float32)
    return _plain(place(label.float().cpu(), dst_affine=affine, spatial_size=size))[0].round()


def _plain(values: torch.Tensor) -> torch.Tensor:
    return values.as_tensor() if isinstance(values, MetaTensor) else values
