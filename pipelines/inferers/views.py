"""Views of a slice, flips at scales, and whether those that are still due can change its labels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

FLIPS: tuple[tuple[int, ...], ...] = tuple(
    c for n in range(3) for c in combinations((2, 3), n)
)  # none, rows, columns, both
BLANK = 0.1  # probability of all labels together that no pixel of a slice without any reaches in its first view
_FLOOR = 0.02  # of the standard error of a difference of probabilities: few views agree by chance
_SURE = 0.6
_PIXELS = 3.0  # that may change anyway: a label of a few pixels cannot be settled more closely


def view_order(scales: Sequence[float], flips: Sequence[tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
    """All views as (number of the scale, axes to flip), so that the first few differ in both."""
    ways = [list(flips) if number % 2 == 0 else list(reversed(flips)) for number in range(len(scales))]
    return [(number, each[turn]) for turn in range(len(flips)) for number, each in enumerate(ways)]


def labels_of(probabilities: Tensor) -> Tensor:
    """The class with the highest probability, uint8 (N, X, Y), of (N, classes, X, Y); the first of equal ones.

    ``argmax`` over an axis that is not the last takes ten times as long on a CPU.
    """
    best = probabilities[:, 0]
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for value in range(1, probabilities.shape[1]):
        higher = probabilities[:, value] > best
        labels.masked_fill_(higher, value)
        best = torch.maximum(best, probabilities[:, value])
    return labels


def settled(views: Sequence[Tensor], total: int, tolerance: float) -> Tensor:
    """Which slices need no more views.

    After one view those on which no pixel reaches ``BLANK``. After more, those where the pixels that the views to come
    are expected to change are, for each label but background, no more than a part of its pixels. What the mean of all
    views will be is taken as normal about the mean of those that are there, with the standard error of a sample from a
    finite population: ``s * sqrt(1 / n - 1 / N)`` (Cochran, Sampling Techniques, 1977, section 2.6), of the difference
    between the two likeliest classes at each pixel. Pixels where these differ by ``_SURE`` do not change.

    Args:
        views: probabilities (slices, classes, X, Y), n of all ``total``.
        tolerance: that part, 0..1.

    Returns:
        bool (slices,).
    """
    count = len(views)
    if count == 1:
        return (1 - views[0][:, 0]).flatten(1).amax(dim=1) < BLANK
    mean = functools.reduce(torch.add, views) / count
    label, second, lead = _two_likeliest(mean)
    done = torch.ones(len(mean), dtype=torch.bool, device=mean.device)
    for number, unsure in enumerate(lead < _SURE):
        if not bool(unsure.any()):
            continue
        a, b = label[number][unsure].long(), second[number][unsure].long()
        at = torch.stack([view[number][:, unsure] for view in views])  # (n, classes, pixels)
        index = torch.stack([a, b])[None].expand(count, -1, -1)
        pair = at.gather(1, index)
        error = (pair[:, 0] - pair[:, 1]).std(dim=0) * (1 / count - 1 / total) ** 0.5 + _FLOOR
        changing = torch.special.ndtr(-lead[number][unsure] / error)
        for value in range(1, mean.shape[1]):
            expected = changing[(a == value) | (b == value)].sum()
            done[number] &= expected <= tolerance * (label[number] == value).sum() + _PIXELS
    return done


def _two_likeliest(probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest class and the second, uint8 (N, X, Y), and how much likelier the first is."""
    label = labels_of(probabilities)
    best = probabilities[:, 0].clone()
    second, runner = torch.full_like(best, -1.0), torch.zeros_like(label)
    for value in range(probabilities.shape[1]):
        here = probabilities[:, value]
        first = label == value
        best = torch.where(first, here, best)
        higher = ~first & (here > second)
        second = torch.where(higher, here, second)
        runner.masked_fill_(higher, value)
    return label, runner, best - second
