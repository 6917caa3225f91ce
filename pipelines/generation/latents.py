"""Latent vectors: those of a training's batches, and those of numbered pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def batch_latents(
    num_latents: int, latent_size: int, device: torch.device | str | None = None, non_blocking: bool = False, **_: Any
) -> Tensor:
    """A batch's latent vectors for GanTrainer (``g_prepare_batch``): B x latent_size x 1 x 1 of N(0, 1).

    They are drawn on the CPU, from torch's global state, so that a seed gives the same on every device.
    """
    return torch.randn(num_latents, latent_size, 1, 1).to(device=device, non_blocking=non_blocking)


def picture_seeds(seed: int, number: int) -> list[int]:
    """The seeds of ``number`` pictures, each of its own (below 2**63): a longer list begins with a shorter one's.

    Args:
        seed: at least 0.
    """
    words = [np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] for index in range(number)]
    return [int(word >> np.uint64(1)) for word in words]


def seeded_latents(seeds: Sequence[int], latent_size: int) -> Tensor:
    """The latent vector of each seed: N x latent_size x 1 x 1 of N(0, 1)."""
    rows = [torch.randn(latent_size, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)[:, :, None, None] if rows else torch.empty(0, latent_size, 1, 1)
