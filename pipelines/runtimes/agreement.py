"""How far another runtime's answers are from eager's, and how far they may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Agreement:
    """Answers of two runtimes to the same inputs.

    Attributes:
        logits_max, logits_mean: difference of the networks' outputs.
        probabilities_max: largest difference of softmax, or of sigmoid where there is one channel.
        same_labels: part of the pixels (of the items, of a classifier) whose likeliest class is the same, 0..1.
        dice: the smallest of the labels' Dice over all pixels together, background left out; a label that neither
            finds counts 1. None of a classifier.
    """

    logits_max: float
    logits_mean: float
    probabilities_max: float
    same_labels: float
    dice: float | None

    @staticmethod
    def of(reference: torch.Tensor, other: torch.Tensor) -> Agreement:
        """Of logits (B, K) or (B, K, …)."""
        reference, other = reference.float(), other.float()
        distance = (reference - other).abs()
        if reference.shape[1] == 1:
            chances = reference.sigmoid(), other.sigmoid()
            labels = [(each >= 0.5).long()[:, 0] for each in chances]
            classes = 2
        else:
            chances = reference.softmax(1), other.softmax(1)
            labels = [each.argmax(1) for each in chances]
            classes = reference.shape[1]
        dense = reference.ndim > 2
        return Agreement(
            float(distance.max()) if other.isfinite().all() else float("inf"),
            float(distance.mean()),
            float((chances[0] - chances[1]).abs().max()),
            float((labels[0] == labels[1]).float().mean()),
            min(dice(labels[0].numpy(), labels[1].numpy(), classes)) if dense else None,
        )

    @property
    def text(self) -> str:
        """In a few words."""
        masks = f"Dice {self.dice:.4f}, " if self.dice is not None else ""
        return (
            f"{masks}{100 * self.same_labels:.3f} % the same class, probabilities within {self.probabilities_max:.1g}"
        )


@dataclass(frozen=True)
class Tolerance:
    """What may differ.

    Attributes:
        probabilities: at most; None where masks are held to their Dice alone.
        same_labels: at least, 0..1.
        dice: at least, of the worst label.
    """

    probabilities: float | None
    same_labels: float
    dice: float

    @staticmethod
    def of(precision: str, dense: bool) -> Tolerance:
        """Of fp32 or bf16; ``dense`` of networks that give a mask."""
        if precision == "fp32":
            return Tolerance(probabilities=1e-3, same_labels=0.999, dice=0.995)
        return Tolerance(probabilities=None if dense else 1e-2, same_labels=0.99, dice=0.995)

    def holds(self, found: Agreement) -> bool:
        """Whether it is kept; a number that is none keeps nothing."""
        return (
            found.logits_max < float("inf")
            and (self.probabilities is None or found.probabilities_max <= self.probabilities)
            and found.same_labels >= self.same_labels
            and (found.dice is None or found.dice >= self.dice)
        )


def dice(first: np.ndarray, second: np.ndarray, classes: int) -> list[float]:
    """Dice of each label from 1 on, over all pixels together; 1 where neither has the label."""
    found = []
    for value in range(1, classes):
        a, b = first == value, second == value
        total = int(a.sum()) + int(b.sum())
        found.append(1.0 if total == 0 else 2.0 * int((a & b).sum()) / total)
    return found
