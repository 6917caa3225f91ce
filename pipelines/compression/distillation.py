"""A loss in which a student also follows the probabilities of a teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import kl_div, log_softmax

from pipelines.errors import ConfigError
from pipelines.weights import load_weights


class DistillationLoss(torch.nn.Module):
    """``(1 - weight) * loss + weight * T² * KL(teacher || student)`` of probabilities softened by the temperature T
    (Hinton et al., https://arxiv.org/abs/1503.02531), the mean over items and pixels.

    The teacher sees what the student was given: images of a training as they are after augmentation.

    Args:
        loss: of the student's logits and the labels.
        student: the network that is trained, (B, C, …) to logits (B, K, …) with K of two or more.
        teacher: gives as many logits of the same images; its weights are loaded here, and stay.
        teacher_weights: the file.
        weight: of the teacher, 0 to 1.
        temperature: T, above 0.

    Raises:
        ConfigError: an argument out of its range; while running, logits that do not go together.
        UnreadableFileError, WeightsError: the weights cannot be used.
    """

    def __init__(
        self,
        loss: torch.nn.Module,
        student: torch.nn.Module,
        teacher: torch.nn.Module,
        teacher_weights: str,
        weight: float = 0.5,
        temperature: float = 2.0,
    ) -> None:
        super().__init__()
        if not 0 <= weight <= 1 or not temperature > 0:
            what = f"the teacher's weight is {weight:g} and the temperature {temperature:g}"
            raise ConfigError(what, how="give a weight of 0 to 1, and a temperature above 0")
        load_weights(teacher, teacher_weights)
        self.loss = loss
        self.teacher = teacher.to(next(student.parameters()).device).eval().requires_grad_(False)
        self.weight = weight
        self.temperature = temperature
        self._given: torch.Tensor | None = None
        student.register_forward_pre_hook(self._hear)

    def _hear(self, student: torch.nn.Module, given: tuple[Any, ...]) -> None:
        self._given = given[0].detach() if student.training else None

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss, a number, of logits (B, K, …) and labels as ``loss`` takes them."""
        supervised = self.loss(logits, label)
        if self._given is None:
            return supervised
        self.teacher.eval()  # a trainer's own call of train() reaches losses that are modules
        with torch.no_grad():
            taught = self.teacher(self._given).float()
        if taught.shape != logits.shape or logits.shape[1] < 2:
            raise ConfigError(
                f"the teacher's logits are {tuple(taught.shape)} and the student's {tuple(logits.shape)}",
                how="choose a teacher of the same classes, two or more",
            )
        soft = log_softmax(logits.float() / self.temperature, 1), log_softmax(taught / self.temperature, 1)
        apart = kl_div(*soft, reduction="none", log_target=True).sum(1).mean()
        return (1 - self.weight) * supervised + self.weight * self.temperature**2 * apart
