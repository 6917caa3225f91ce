"""A SupervisedTrainer with a SupervisedEvaluator on four random numbers a case.

As a script it trains until it is killed: ``python tiny_training.py STORE_URI CKPT_DIR`` prints the run's id first.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import MeanSquaredError
from mlflow import MlflowClient
from mlflow.entities import Run
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointSaver, StatsHandler, ValidationHandler, from_engine
from torch.utils.data import DataLoader

from pipelines.tracking import RunTracker

LEARNING_RATE = 0.125


def data(cases: int = 4, workers: int = 0) -> DataLoader[Any]:
    values = torch.arange(cases * 4, dtype=torch.float32).reshape(cases, 4) / 16
    return DataLoader(
        [{"image": each, "label": each.sum()[None]} for each in values], batch_size=2, num_workers=workers
    )


def tiny_evaluator(network: torch.nn.Module, handlers: Sequence[Any] = ()) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=data(),
        network=network,
        key_val_metric={"val_error": MeanSquaredError(output_transform=_stacked)},
        metric_cmp_fn=lambda new, best: new < best,
        val_handlers=list(handlers) or None,
    )


def _stacked(output: list[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    prediction, label = from_engine(["pred", "label"])(output)
    return torch.stack(list(prediction)), torch.stack(list(label))


def tiny_training(
    *, epochs: int = 2, workers: int = 0, during: Callable[[Engine], None] | None = None, **tracking: Any
) -> tuple[SupervisedTrainer, RunTracker]:
    """The trainer and its tracker; ``during`` is called after every iteration. MONAI's own handlers come first."""
    torch.manual_seed(0)
    network = torch.nn.Linear(4, 1)
    evaluator = tiny_evaluator(network)
    tracker = RunTracker("tiny_bundle", network=network, evaluator=evaluator, **tracking)
    handlers = [
        ValidationHandler(interval=1, validator=evaluator),
        StatsHandler(output_transform=lambda _: {}),
        tracker,
    ]
    if tracker.ckpt_dir is not None:
        saver = CheckpointSaver(
            save_dir=str(tracker.ckpt_dir), save_dict={"network": network}, save_final=True, final_filename="final.pt"
        )
        handlers.insert(0, saver)
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=data(workers=workers),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), LEARNING_RATE),
        loss_function=torch.nn.MSELoss(),
        train_handlers=handlers,
    )
    if during is not None:
        trainer.add_event_handler(Events.ITERATION_COMPLETED, during)
    return trainer, tracker


def runs(store: str) -> list[Run]:
    client = MlflowClient(tracking_uri=store)
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def artifacts(store: str, run_id: str, folder: str | None = None) -> set[str]:
    return {each.path for each in MlflowClient(tracking_uri=store).list_artifacts(run_id, folder)}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)

    def tell(engine: Engine) -> None:
        if engine.state.iteration == 1:
            sys.stdout.write(f"{tracker.run_id}\n")
            sys.stdout.flush()
        time.sleep(0.05)

    trainer, tracker = tiny_training(
        epochs=10_000, workers=1, during=tell, tracking_uri=sys.argv[1], ckpt_dir=sys.argv[2]
    )
    trainer.run()
