"""Watches a GAN while it trains: losses, samples of the same latent vectors after each epoch, and their diversity."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import GanTrainer
from monai.engines.utils import GanKeys
from PIL import Image

from pipelines.files import make_folder, write_file
from pipelines.generation.diversity import COLLAPSED_BELOW, Diversity, diversity
from pipelines.generation.grids import grey_pictures, grid
from pipelines.generation.latents import picture_seeds, seeded_latents
from pipelines.generation.record import write_record
from pipelines.tracking import RunTracker

logger = logging.getLogger(__name__)

SAMPLES = "samples"  # folder of the grids, in ckpt_dir and among a run's artefacts
_COLUMNS = 8
_SEED = 0  # of the latent vectors: every training's grids are of the same


class SampleWatch:
    """After each epoch: mean losses and diversity as metrics of the trainer, and a grid of 8 x 8 samples as a picture.

    Metrics are ``train_generator_loss``, ``train_discriminator_loss``, and what ``Diversity.numbers`` names. Samples
    are drawn from fixed latent vectors and in evaluation mode, as pictures are generated later. At the end the log
    says whether the generator has collapsed (see ``Diversity``), the run's tag ``collapsed`` does, and so does the
    record beside the weights. Attach it behind ``TrainingCheckpoint``, whose ``model.pt`` the record is of, and before
    the tracker.

    Args:
        generator: in training.
        latent_size: length of its latent vector.
        reals: items with ``image``, 1 x W x H of -1..1: the training set.
        ckpt_dir: where the grids go (``samples/epoch_001.png`` …).
        about: what the record says beside the diversity: class, data.
        tracker: of the run; None for no run.
        rows: of the grid.
    """

    def __init__(
        self,
        generator: torch.nn.Module,
        latent_size: int,
        reals: Sequence[Mapping[str, Any]],
        ckpt_dir: str,
        about: Mapping[str, Any],
        tracker: RunTracker | None = None,
        rows: int = 8,
    ) -> None:
        self.generator = generator
        self.number = rows * _COLUMNS
        self.latents = seeded_latents(picture_seeds(_SEED, self.number), latent_size)
        self.reals = reals
        self.ckpt_dir = Path(ckpt_dir)
        self.about = dict(about)
        self.tracker = tracker
        self.found: Diversity | None = None
        self._shown: torch.Tensor | None = None
        self._losses: list[tuple[float, float]] = []

    def attach(self, engine: GanTrainer) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self._losses.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        engine.add_event_handler(Events.COMPLETED, self._end)

    def samples(self) -> torch.Tensor:
        """The generator's pictures of the fixed latent vectors: N x 1 x W x H, -1..1."""
        training = self.generator.training
        self.generator.eval()
        with torch.no_grad():
            made = self.generator(self.latents.to(next(self.generator.parameters()).device)).cpu()
        self.generator.train(training)
        return made

    def _iteration(self, engine: Engine) -> None:
        output: Any = engine.state.output
        self._losses.append((float(output[GanKeys.GLOSS]), float(output[GanKeys.DLOSS])))

    def _epoch(self, engine: Engine) -> None:
        made = self.samples()
        self.found = diversity((made + 1) / 2, (self._reals() + 1) / 2)
        losses = np.asarray(self._losses, dtype=float).reshape(-1, 2).mean(axis=0)
        named = {"train_generator_loss": float(losses[0]), "train_discriminator_loss": float(losses[1])}
        engine.state.metrics.update({**named, **self.found.numbers()})
        path = self.ckpt_dir / SAMPLES / f"epoch_{engine.state.epoch:03d}.png"
        make_folder(path.parent)
        picture = Image.fromarray(grid(grey_pictures(made), _COLUMNS))
        write_file(path, lambda file: picture.save(file, "PNG"))
        if self.tracker is not None:
            self.tracker.keep_picture(path, SAMPLES, engine.state.epoch)
        self._record(engine.state.epoch)
        logger.info(
            "epoch %d: generator loss %.3f, discriminator loss %.3f, samples differ %.2f times as much as real "
            "pictures, the nearest other is %.2f times as far",
            engine.state.epoch, *losses, self.found.difference, self.found.spread,
        )  # fmt: skip

    def _record(self, epoch: int) -> None:
        weights = self.ckpt_dir / "model.pt"
        if self.found is not None and weights.is_file():
            numbers = {name: round(value, 6) for name, value in self.found.numbers().items() if name != "collapsed"}
            about = {**self.about, "epochs": epoch, "diversity": numbers, "collapsed": self.found.collapsed}
            write_record(weights, about)

    def _reals(self) -> torch.Tensor:
        if self._shown is None:
            order = np.random.default_rng(_SEED).permutation(len(self.reals))[: self.number]
            pictures = [torch.as_tensor(self.reals[int(index)]["image"]) for index in order]
            self._shown = torch.stack(pictures).as_subclass(torch.Tensor).cpu()
        return self._shown

    def _end(self, engine: Engine) -> None:
        if self.found is None:
            return
        if self.tracker is not None:
            self.tracker.tag("collapsed", str(self.found.collapsed).lower())
        if self.found.collapsed:
            logger.warning(
                "the generator HAS COLLAPSED: its samples differ %.2f times as much as real pictures and the nearest "
                "other is %.2f times as far (below %g of either is a collapse); its pictures are not fit for use",
                self.found.difference, self.found.spread, COLLAPSED_BELOW,
            )  # fmt: skip
        else:
            logger.info("the generator has not collapsed after %d epochs", engine.state.epoch)
