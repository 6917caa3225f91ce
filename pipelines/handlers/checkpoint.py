"""Checkpoints that survive a kill at any moment, and a resumed training that equals an uninterrupted one.

MONAI's CheckpointSaver writes in place and keeps the best metric's memory to itself: killed while it writes, it leaves
a truncated file, and resumed, it takes the first validation for the best. Hence this pair.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, Trainer

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.files import make_folder, write_file
from pipelines.weights import load_weights

logger = logging.getLogger(__name__)

LAST = "last.pt"
BEST = "model.pt"


def save_atomically(content: Any, path: Path) -> None:
    """``torch.save`` to a file beside ``path``, synced, then moved onto it: whoever opens ``path`` finds a whole file.

    Raises:
        OutputError: the folder cannot be written or the disk is full.
    """
    how = "free space or choose another ckpt_dir"
    make_folder(path.parent)
    write_file(path, lambda file: torch.save(content, file), durable=True, how=how)


class TrainingCheckpoint:
    """Writes ``last.pt`` (everything, each ``interval`` epochs) and ``model.pt`` (best weights) into ``save_dir``.

    Attach it to the trainer after the ValidationHandler, so that an epoch's checkpoint knows that epoch's metric.

    Args:
        save_dir: folder of the two files.
        state: what ``last.pt`` holds beside the trainer's epoch: ``{"network": …, "optimizer": …, "lr_scheduler": …,
            "early_stopping": …}``, each with ``state_dict`` and ``load_state_dict``; None for what there is not.
        network: whose weights ``model.pt`` holds (under DistributedDataParallel, its ``module``).
        evaluator: whose key metric decides what is best (larger is better); None where nothing does, as with a GAN:
            ``model.pt`` holds the weights of the last epoch then.
        interval: epochs between two ``last.pt``.
        resume: go on from ``last.pt`` when there is one; otherwise training starts over and replaces it.
        save: False on every rank but 0.

    Raises:
        UnreadableFileError, WeightsError: ``last.pt`` is damaged or of another network (on resume).
    """

    def __init__(
        self,
        save_dir: str,
        state: Mapping[str, Any],
        network: torch.nn.Module,
        evaluator: Evaluator | None,
        interval: int = 1,
        resume: bool = False,
        save: bool = True,
    ) -> None:
        self.folder = Path(save_dir)
        self.state = {name: item for name, item in state.items() if item is not None}
        self.network = network
        self.evaluator = evaluator
        self.interval = interval
        self.resume = resume
        self.save = save

    def attach(self, engine: Trainer) -> None:
        engine.add_event_handler(Events.STARTED, self._restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        state, best = engine.state, None if self.evaluator is None else self.evaluator.state
        if not self.save:
            return
        # the evaluator runs within this epoch, so its best epoch is this one only if it has just become the best
        if best is None or best.best_metric_epoch == state.epoch:
            save_atomically(_plain_state(self.network), self.folder / BEST)
        if state.epoch % self.interval == 0 or state.epoch == state.max_epochs:
            content = {name: _unwrapped(item).state_dict() for name, item in self.state.items()}
            content["progress"] = {"epoch": state.epoch, "epoch_length": state.epoch_length}
            if best is not None:
                content["progress"] |= {
                    "best_metric": float(best.best_metric),
                    "best_metric_epoch": int(best.best_metric_epoch),
                }
            save_atomically(content, self.folder / LAST)

    def _restore(self, engine: Engine) -> None:
        path = self.folder / LAST
        if not self.resume:
            return
        if not path.is_file():
            logger.info("nothing to resume in %s: training starts at the first epoch", self.folder)
            return
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            progress = content.pop("progress")
            missing = set(self.state) ^ set(content)
        except Exception as error:
            raise UnreadableFileError(
                "the checkpoint is damaged or not one of ours", where=path, how="delete it to start over"
            ) from error
        if missing:
            raise WeightsError(f"the checkpoint and the training differ in {sorted(missing)}", where=path)
        if progress["epoch_length"] != engine.state.epoch_length:
            raise WeightsError(
                f"its epochs had {progress['epoch_length']} iterations, these have {engine.state.epoch_length}",
                where=path,
                how="resume with the data and batch size it was trained with",
            )
        for name, item in self.state.items():
            steps = content[name].get("total_steps")
            if steps is not None and steps != getattr(item, "total_steps", steps):
                raise WeightsError(
                    f"its learning rate was planned for {steps} steps, this training plans {item.total_steps}",
                    where=path,
                    how="resume with the same number of epochs, or start over",
                )
        try:
            for name, item in self.state.items():
                _unwrapped(item).load_state_dict(content[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise WeightsError(
                f"the checkpoint does not fit this training ({str(error).splitlines()[0]})",
                where=path,
                how="resume with the network it was trained with, or delete it to start over",
            ) from error
        engine.state.epoch = progress["epoch"]
        engine.state.iteration = progress["epoch"] * progress["epoch_length"]
        if self.evaluator is not None:
            self.evaluator.state.best_metric = progress["best_metric"]
            self.evaluator.state.best_metric_epoch = progress["best_metric_epoch"]
        logger.info("resumed after epoch %d from %s", progress["epoch"], path)
        if engine.state.epoch >= (engine.state.max_epochs or 0):
            engine.terminate()


def _plain_state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu() for key, value in _unwrapped(network).state_dict().items()}


def _unwrapped(item: Any) -> Any:
    """Without DistributedDataParallel, so that a checkpoint serves any number of processes."""
    return item.module if isinstance(item, torch.nn.parallel.DistributedDataParallel) else item


class WeightsLoader:
    """Loads ``path`` (.safetensors, or .pt with tensors only) into a network when the engine starts.

    Args:
        path: the file.
        network: any module; keys and shapes must match.

    Raises:
        UnreadableFileError, WeightsError: see ``pipelines.weights.load_weights``.
    """

    def __init__(self, path: str, network: torch.nn.Module) -> None:
        self.path = path
        self.network = network
        self.loaded = False

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.load()

    def load(self) -> None:
        """Loads the weights, once."""
        if not self.loaded:
            load_weights(self.network, self.path)
            self.loaded = True
