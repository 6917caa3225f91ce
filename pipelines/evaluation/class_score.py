"""Scores of classified items in the form that MONAI's engines take, for training and validation."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import ignite.distributed as idist
import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from numpy.typing import NDArray
from torch import Tensor

from pipelines.errors import ConfigError
from pipelines.evaluation.classification import class_scores
from pipelines.evaluation.rated_items import IGNORE_INDEX

logger = logging.getLogger(__name__)


def balanced_log_likelihood(probabilities: NDArray, labels: NDArray) -> float:
    """Mean log-probability of the true class, in nats, each class counting the same; 0 is the best; NaN without items.

    It goes on telling networks apart where all of them classify the few validation cases rightly.
    """
    true = np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))
    means = [true[labels == k].mean() for k in np.unique(labels)]
    return float(np.mean(means)) if means else float("nan")


class ClassScore(CumulativeIterationMetric):
    """A score over all rated items (pictures, slices) of all cases, for :class:`monai.handlers.IgniteMetricHandler`.

    Across processes all items are gathered; a process without cases does not hang the others.

    Args:
        score: "balanced_log_likelihood", or one of ``class_scores`` ("balanced_accuracy", "accuracy", "auc", …).
        names: of the classes.
        ignore_index: the label of what has no class, as torch calls it.

    Raises:
        ConfigError: there is no such score.
    """

    def __init__(self, score: str, names: Sequence[str], ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.names = [str(name) for name in names]
        known = class_scores(np.full((1, len(self.names)), 1 / len(self.names)), np.zeros(1, dtype=int), self.names)
        if score != "balanced_log_likelihood" and score not in known:
            raise ConfigError(f"there is no score {score!r}", how=f"choose one of {', '.join(known)}")
        self.score = score
        self.ignore_index = ignore_index

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Rows of a batch: the probabilities of each item, then its class; (items, classes + 1) float64.

        Args:
            y_pred: (B, classes) or (B, classes, Z) probabilities.
            y: (B,) or (B, Z); ``ignore_index`` where an item has no class.

        Raises:
            ValueError: there is no y, or the shapes do not go together.
        """
        if y is None:
            raise ValueError("ClassScore needs y, the classes")
        probabilities = torch.as_tensor(y_pred).as_subclass(Tensor).double()
        rows = probabilities.movedim(1, -1).reshape(-1, len(self.names))
        labels = torch.as_tensor(y).as_subclass(Tensor).reshape(-1, 1).to(rows)
        if len(labels) != len(rows):
            raise ValueError(f"y_pred is {tuple(y_pred.shape)} and y {tuple(y.shape)}: a class an item is needed")
        return torch.cat([rows, labels], dim=1)

    def aggregate(self) -> Tensor:
        """The score over all that was seen, of all processes; NaN where it is undefined."""
        if self._buffers is None and idist.get_world_size() > 1:
            # Gathering is collective: a process that MONAI would let skip it leaves the others waiting for ever.
            self.extend(torch.full((1, len(self.names) + 1), float(self.ignore_index), dtype=torch.float64))
        rows = self.get_buffer()
        if rows is None:
            logger.warning("%s: nothing was seen", self.score)
            return torch.tensor(torch.nan)
        values = rows.cpu().numpy()
        values = values[values[:, -1] != self.ignore_index]
        probabilities, labels = values[:, :-1], values[:, -1].astype(int)
        if self.score == "balanced_log_likelihood":
            return torch.tensor(balanced_log_likelihood(probabilities, labels))
        if not len(labels):
            return torch.tensor(torch.nan)
        return torch.tensor(class_scores(probabilities, labels, self.names)[self.score])
