"""Several small batches a step are as one large batch: weights, rate, average; also in a shorter step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer

from pipelines.handlers import AccumulatedMean, AveragedWeights, StepSchedule, TrainingCheckpoint
from pipelines.weights import load_weights


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def train(batch_size: int, accumulate: int, folder: Path | None = None, cases: int = 12, **options: object) -> tuple:
    """The trained weights, their average, and the rates of the steps."""
    generator = torch.Generator().manual_seed(1)
    data = [{key: torch.rand(n, generator=generator) for key, n in (("image", 4), ("label", 1))} for _ in range(cases)]
    trained = network()
    optimizer = torch.optim.AdamW(trained.parameters(), 0.05)
    steps = 3 * -(-cases // (batch_size * accumulate))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=max(steps, 4))
    averaged = AveragedWeights(trained, 0.5)
    rates: list[float] = []
    optimizer.register_step_pre_hook(lambda each, *_: rates.append(each.param_groups[0]["lr"]))
    handlers = [AccumulatedMean(), StepSchedule(schedule, print_lr=False, epoch_level=False)]
    if folder:
        handlers.append(TrainingCheckpoint(str(folder), {"network": trained}, trained, None))
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=3,
        train_data_loader=DataLoader(Dataset(data), batch_size=batch_size),
        network=trained,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
        decollate=False,
        train_handlers=handlers,
        accumulation_steps=accumulate,
        **options,
    )
    averaged.attach(trainer)
    seen: dict[str, torch.Tensor] = {}
    trainer.add_event_handler("EPOCH_COMPLETED", lambda _: seen.update(averaged.network.state_dict()))
    trainer.run()
    return trained.state_dict(), seen, rates


@pytest.mark.parametrize(("small", "accumulate", "cases"), [(2, 2, 12), (2, 3, 16), (1, 4, 9)])
def test_small_batches_together_are_a_large_one(small: int, accumulate: int, cases: int) -> None:
    """16 cases by 2 x 3 and 9 by 1 x 4 leave a shorter step at the end of an epoch."""
    found, wanted = train(small, accumulate, cases=cases), train(small * accumulate, 1, cases=cases)
    assert found[2] == wanted[2], "the rate follows the steps"
    for state, expected in zip(found[:2], wanted[:2], strict=True):
        torch.testing.assert_close(state, expected, rtol=1e-4, atol=1e-6)
    untouched = train(small, 1, cases=cases)[0]
    assert not torch.allclose(untouched["0.weight"], wanted[0]["0.weight"], rtol=1e-3)


def test_a_compiled_training_leaves_weights_of_the_network_itself(tmp_path: Path) -> None:
    """And learns what an eager one learns; the backend that compiles nothing has the same wrapper, at once."""
    state, _, _ = train(4, 1, tmp_path, compile=True, compile_kwargs={"backend": "eager"})
    torch.testing.assert_close(state, train(4, 1)[0])
    loaded = network()
    load_weights(loaded, tmp_path / "model.pt")
    torch.testing.assert_close(loaded.state_dict(), state)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["network"].keys() == state.keys()
