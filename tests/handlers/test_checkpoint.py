"""Training that is stopped and resumed equals one that was not: weights, optimiser, schedule, best metric, patience."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.metrics import Average
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandFlipd, RandGaussianNoised

from pipelines.errors import UnreadableFileError, WeightsError
from pipelines.handlers import EpochSeed, ResumableEarlyStop, TrainingCheckpoint
from pipelines.handlers.checkpoint import BEST, LAST

EPOCHS = 6


class StopHere(Exception):
    """Stands for the kill."""


def train(
    folder: Path, *, resume: bool = False, kill_in_epoch: int | None = None, hidden: int = 4, dropout: float = 0.2
):
    """A small regression with dropout, noise, shuffling, momentum and a schedule; returns the trainer and its parts."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    data = [
        {"image": torch.rand(1, 8, generator=generator), "label": torch.rand(1, generator=generator)} for _ in range(10)
    ]
    transform = Compose([RandFlipd("image", prob=0.5), RandGaussianNoised("image", prob=0.5)])
    network = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(8, hidden),
        torch.nn.BatchNorm1d(hidden),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(hidden, 1),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=EPOCHS * 5)
    # a metric that gets worse after the third epoch
    scores = iter([0.1, 0.4, 0.9, 0.3, 0.2, 0.1][0 if not resume else (kill_in_epoch or 4) - 1 :])
    early = ResumableEarlyStop(patience=10, score_function=lambda engine: engine.state.metrics["score"])
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(data[:2]), batch_size=2),
        network=network,
        key_val_metric={"score": Average(output_transform=lambda _: next(scores))},
        val_handlers=[early],
        decollate=False,
    )
    state = {"network": network, "optimizer": optimizer, "lr_scheduler": scheduler, "early_stopping": early}
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=EPOCHS,
        train_data_loader=DataLoader(Dataset(data, transform), batch_size=2, shuffle=True),
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        decollate=False,
        train_handlers=[
            EpochSeed(7, transform),
            LrScheduleHandler(scheduler, print_lr=False, epoch_level=False),
            ValidationHandler(1, evaluator),
            TrainingCheckpoint(str(folder), state, network, evaluator, resume=resume),
        ],
    )
    early.set_trainer(trainer)
    if kill_in_epoch and not resume:
        from ignite.engine import Events

        def kill(engine):
            if engine.state.epoch == kill_in_epoch and engine.state.iteration % 5 == 3:
                raise StopHere

        trainer.add_event_handler(Events.ITERATION_COMPLETED, kill)
    trainer.run()
    return trainer, state, evaluator


@pytest.fixture
def uninterrupted(tmp_path):
    return tmp_path / "whole", train(tmp_path / "whole")


def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(tmp_path, uninterrupted):
    whole, (_, state, evaluator) = uninterrupted
    with pytest.raises(StopHere):
        train(tmp_path / "killed", kill_in_epoch=4)
    assert torch.load(tmp_path / "killed" / LAST, weights_only=True)["progress"]["epoch"] == 3
    trainer, resumed, resumed_evaluator = train(tmp_path / "killed", resume=True, kill_in_epoch=4)
    assert trainer.state.epoch == EPOCHS
    for a, b in zip(state["network"].state_dict().values(), resumed["network"].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for key in ("optimizer", "lr_scheduler", "early_stopping"):
        assert str(state[key].state_dict()) == str(resumed[key].state_dict())
    assert resumed_evaluator.state.best_metric == evaluator.state.best_metric == 0.9
    assert resumed_evaluator.state.best_metric_epoch == 3
    best, other = (torch.load(folder / BEST, weights_only=True) for folder in (whole, tmp_path / "killed"))
    assert all(torch.equal(best[key], other[key]) for key in best)


def test_best_is_not_last(uninterrupted):
    whole, (_, state, _) = uninterrupted
    best, last = torch.load(whole / BEST, weights_only=True), state["network"].state_dict()
    assert any(not torch.equal(best[key], last[key]) for key in best)


def test_resuming_what_is_finished_changes_nothing(uninterrupted):
    whole, (_, state, _) = uninterrupted
    _, resumed, _ = train(whole, resume=True, kill_in_epoch=7)
    assert all(
        torch.equal(a, b) for a, b in zip(state["network"].parameters(), resumed["network"].parameters(), strict=True)
    )


def test_resume_without_a_checkpoint_starts_at_the_beginning(tmp_path):
    trainer, _, _ = train(tmp_path / "new", resume=True, kill_in_epoch=1)
    assert trainer.state.epoch == EPOCHS


def test_a_damaged_checkpoint_is_named(uninterrupted):
    whole, _ = uninterrupted
    content = (whole / LAST).read_bytes()
    (whole / LAST).write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableFileError, match="damaged"):
        train(whole, resume=True)


def test_a_checkpoint_of_another_network_is_refused(uninterrupted):
    whole, _ = uninterrupted
    with pytest.raises(WeightsError, match="does not fit"):
        train(whole, resume=True, hidden=5)


def test_nothing_half_written_beside_the_checkpoints(uninterrupted):
    whole, _ = uninterrupted
    assert {path.name for path in whole.iterdir()} == {BEST, LAST}
