"""A classifier applied to features that were computed before."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer


class FeatureInferer(Inferer):
    """Runs a network's ``classify`` on features (B x N) in the place of the network on pictures."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits (B x classes), float32."""
        features = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        return getattr(network, "module", network).classify(features).float()
