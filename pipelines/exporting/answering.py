"""A network with what stands behind it: logits become labels of a mask, or calibrated probabilities."""

from __future__ import annotations

import torch

from pipelines.errors import ConfigError

ANSWERS = ("mask", "probabilities")


class AnsweringNetwork(torch.nn.Module):
    """A network that gives its answer, and the logits that it is made of.

    Args:
        network: (B, C, …) to logits (B, K, …).
        answer: "mask": uint8 label values (B, …), the likeliest class, or of a single channel 1 where its sigmoid is at
            least ``threshold``; "probabilities": (B, K), softmax of the logits over ``temperature``.
        temperature: that was fitted for the weights, above 0.
        threshold: of a mask of one channel, above 0 and below 1.

    Raises:
        ConfigError: there is no such answer.
    """

    def __init__(self, network: torch.nn.Module, answer: str, temperature: float = 1.0, threshold: float = 0.5) -> None:
        super().__init__()
        if answer not in ANSWERS:
            raise ConfigError(f"there is no answer {answer!r}", how=f"choose from {', '.join(ANSWERS)}")
        self.network = network
        self.answer = answer
        self.temperature = float(temperature)
        self.threshold = float(threshold)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(answer, logits)."""
        logits = self.network(image)
        if self.answer == "probabilities":
            scaled = logits / self.temperature
            return (scaled.sigmoid() if logits.shape[1] == 1 else scaled.softmax(1)), logits
        if logits.shape[1] == 1:
            return (logits[:, 0].sigmoid() >= self.threshold).to(torch.uint8), logits
        return logits.argmax(1).to(torch.uint8), logits
