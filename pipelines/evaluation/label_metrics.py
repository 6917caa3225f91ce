"""Metrics of label maps while training, in the form that MONAI's engines take."""

from __future__ import annotations

import logging

import ignite.distributed as idist
import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

logger = logging.getLogger(__name__)


class LabelDice(CumulativeIterationMetric):
    """Mean over cases of the Dice of one label value.

    For :class:`monai.handlers.IgniteMetricHandler`, usually as the key metric: pictures of different sizes, as
    decollated lists, need no one-hot copy. A case where prediction and label are both without the value has no Dice and
    is left out; where only one is, the Dice is 0. (monai.metrics.DiceMetric leaves out every case with an empty label,
    false positives included.) The rule is that of :mod:`pipelines.evaluation.segmentation`.

    Across processes a case counts once for each that saw it, and a process without cases does not hang the others.

    Args:
        label: the label value to measure.
    """

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Dice of each case: B x 1, float32, NaN where undefined.

        Args:
            y_pred: B x 1 x X x Y (x Z) label map.
            y: the reference, the same shape.

        Raises:
            ValueError: there is no y, shapes differ, or there is more than one channel (logits or one-hot).
        """
        if y is None:
            raise ValueError("LabelDice needs y, the reference label map")
        if y_pred.shape != y.shape:
            raise ValueError(f"y_pred is {tuple(y_pred.shape)} and y {tuple(y.shape)}: they must share a grid")
        if y.ndim < 3 or y.shape[1] != 1:
            raise ValueError(
                f"label maps have one channel (B x 1 x X x Y), got {tuple(y.shape)}: take the argmax first"
            )
        axes = tuple(range(1, y.ndim))
        predicted = torch.as_tensor(y_pred).as_subclass(Tensor) == self.label
        true = torch.as_tensor(y).as_subclass(Tensor).to(predicted.device) == self.label
        both = (predicted & true).sum(axes, dtype=torch.float64)
        either = predicted.sum(axes, dtype=torch.float64) + true.sum(axes, dtype=torch.float64)
        return (2 * both / either).to(torch.float32).unsqueeze(1)  # 0 / 0 is NaN, as meant

    def aggregate(self) -> Tensor:
        """The mean over cases that have a Dice, of all processes; NaN where none has, or there was no case at all."""
        if self._buffers is None and idist.get_world_size() > 1:
            # Gathering is collective: a process that MONAI would let skip it leaves the others waiting for ever.
            self.append(torch.full((1,), torch.nan))
        values = self.get_buffer()
        if values is None:
            logger.warning("Dice of label %d: no case was seen", self.label)
            return torch.tensor(torch.nan)
        mean: Tensor = values.nanmean()
        if mean.isnan():
            logger.warning("Dice of label %d is undefined: no case has it in prediction or label", self.label)
        return mean


class LabelIoU(LabelDice):
    """Mean over cases of the IoU (Jaccard) of one label value, by the rules of ``LabelDice``: Dice / (2 - Dice) in a
    case."""

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """IoU of each case: B x 1, float32, NaN where undefined. See ``LabelDice``."""
        dice = super()._compute_tensor(y_pred, y)
        return dice / (2 - dice)
