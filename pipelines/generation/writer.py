"""The handler that writes what a bundle's inference generates."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events

from pipelines.generation.grids import grey_pictures
from pipelines.generation.latents import picture_seeds, seeded_latents
from pipelines.generation.pictures import Samples, write_samples
from pipelines.generation.record import read_record


def latent_items(number: int, seed: int, latent_size: int) -> list[dict[str, Any]]:
    """What an evaluator generates from: ``latent`` (latent_size x 1 x 1) and ``seed`` of each picture (`generate`)."""
    seeds = picture_seeds(seed, number)
    return [
        {"latent": latent, "seed": each} for each, latent in zip(seeds, seeded_latents(seeds, latent_size), strict=True)
    ]


class SyntheticWriter:
    """Writes the pictures of an evaluator, each marked as synthetic, with a manifest (`write_samples`).

    Args:
        output_dir: absent or empty.
        checkpoint: the generator's weights, whose record names the class.
        overwrite: replace a folder of generated pictures.
        key: of the picture in the engine's output, 1 x W x H of -1..1.

    Raises:
        UnreadableFileError, WeightsError, OutputError: while running; see ``read_record`` and ``write_samples``.
    """

    def __init__(self, output_dir: str, checkpoint: str, overwrite: bool = False, key: str = "pred") -> None:
        self.output_dir = output_dir
        self.checkpoint = checkpoint
        self.overwrite = overwrite
        self.key = key
        self._pictures: list[torch.Tensor] = []
        self._seeds: list[int] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._take)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _take(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for item, output in zip(batch, outputs, strict=True):
            self._pictures.append(torch.as_tensor(output[self.key]).as_subclass(torch.Tensor).cpu())
            self._seeds.append(int(item["seed"]))

    def _write(self, engine: Engine) -> None:
        record = read_record(self.checkpoint)
        pictures = grey_pictures(torch.stack(self._pictures))
        write_samples(self.output_dir, [Samples(str(record["class"]), self._seeds, pictures, record)], self.overwrite)
        self._pictures, self._seeds = [], []
