"""What an autoencoder makes of pictures, drawn beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pipelines.files import write_file

GAIN = 4  # of the differences that are drawn
_GAP = 4  # pixels between pictures


def beside(columns: Sequence[Sequence[NDArray]]) -> Image.Image:
    """Grey pictures (W, H), 0..1, as a picture of columns, each from the top down, all of one size."""
    wide, high = columns[0][0].shape
    width = len(columns) * (wide + _GAP) - _GAP
    height = len(columns[0]) * (high + _GAP) - _GAP
    drawn = np.full((height, width), 255, dtype=np.uint8)
    for column, pictures in enumerate(columns):
        for row, picture in enumerate(pictures):
            left, top = column * (wide + _GAP), row * (high + _GAP)
            grey = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
            drawn[top : top + high, left : left + wide] = grey.T
    return Image.fromarray(drawn)


def difference(picture: NDArray, reconstruction: NDArray) -> NDArray:
    """Where a reconstruction is lighter (above a half) or darker than the picture, ``GAIN`` times as much."""
    return np.asarray(0.5 + GAIN * (np.asarray(reconstruction, dtype=np.float32) - picture))


class ReconstructionPicture:
    """After each validation that is the best so far, draws a few pictures, their reconstructions, and the difference.

    Attach it to the evaluator. A column a picture: as it is, as the network sees it (only with ``noise``), the
    reconstruction, and the difference, grey where there is none.

    Args:
        path: of the PNG.
        dataset: items with ``image``, (1, W, H), 0..1; those at equal steps are drawn.
        network: an autoencoder.
        count: how many pictures.
        noise: standard deviation of what is added to them. seed: of that noise.

    Raises:
        OutputError: while running, where the file cannot be written.
    """

    def __init__(
        self, path: str, dataset: Any, network: torch.nn.Module, count: int = 6, noise: float = 0.0, seed: int = 0
    ) -> None:
        self.path = Path(path)
        self.dataset = dataset
        self.network = network
        self.count = min(count, len(dataset))
        self.noise = noise
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state = engine.state
        last = state.metrics.get(getattr(state, "key_metric_name", None) or "")
        if not self.count or last is None or float(last) != float(state.best_metric):  # type: ignore[attr-defined]
            return
        places = np.linspace(0, len(self.dataset) - 1, self.count).round().astype(int)
        device = next(self.network.parameters()).device
        clean = torch.stack([torch.as_tensor(self.dataset[int(k)]["image"]).as_subclass(Tensor) for k in places])
        drawn = torch.Generator().manual_seed(self.seed)
        seen = clean + self.noise * torch.randn(clean.shape, generator=drawn)
        self.network.eval()
        with torch.no_grad():
            answers = self.network(seen.to(device)).float().cpu()
        columns = [
            [given[0], *([noisy[0]] if self.noise > 0 else []), answer[0], difference(given[0], answer[0])]
            for given, noisy, answer in zip(clean.numpy(), seen.numpy(), answers.numpy(), strict=True)
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.path, lambda file: beside(columns).save(file, "PNG"))
