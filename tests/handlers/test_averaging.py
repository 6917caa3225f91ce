"""Averaged weights: of all steps, kept over an interruption, and the network's own at the end."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine

from pipelines.errors import ConfigError
from pipelines.handlers import AveragedWeights


def training(network: torch.nn.Module, averaged: AveragedWeights, epochs: int = 2) -> Engine:
    def step(engine: Engine, batch: float) -> None:
        with torch.no_grad():
            network.weight.add_(batch)
            network.running_mean.add_(batch)

    engine = Engine(step)
    averaged.attach(engine)
    engine.run([1.0, 1.0], max_epochs=epochs)
    return engine


def network() -> torch.nn.BatchNorm1d:
    found = torch.nn.BatchNorm1d(1)
    torch.nn.init.zeros_(found.weight)
    return found


def test_the_average_ends_as_the_networks_own_weights() -> None:
    trained = network()
    averaged = AveragedWeights(trained, 0.5)
    seen = []

    def step(engine: Engine, batch: float) -> None:
        with torch.no_grad():
            trained.weight.add_(batch)
            trained.running_mean.add_(batch)
        seen.append((float(trained.weight), float(averaged.network.weight)))

    engine = Engine(step)
    averaged.attach(engine)
    engine.run([1.0, 1.0], max_epochs=2)
    # weights 1, 2, 3, 4; torch's average takes the first as it is, then half and half
    assert [last for _, last in seen] == [0.0, 1.0, 1.5, 2.25]
    assert float(averaged.network.weight) == 3.125
    assert float(trained.weight) == 3.125
    assert float(trained.running_mean) == 3.125


def test_it_goes_on_after_an_interruption() -> None:
    whole = network()
    training(whole, AveragedWeights(whole, 0.5), epochs=2)
    first = network()
    begun = AveragedWeights(first, 0.5)
    engine = Engine(lambda engine, batch: first.weight.data.add_(batch))
    begun.attach(engine)
    engine.add_event_handler("EPOCH_COMPLETED", lambda engine: engine.terminate())
    engine.run([1.0, 1.0], max_epochs=2)
    again = network()
    again.load_state_dict(first.state_dict())
    goes_on = AveragedWeights(again, 0.5)
    goes_on.load_state_dict(begun.state_dict())
    training(again, goes_on, epochs=1)
    assert float(again.weight) == float(whole.weight)


def test_no_decay_averages_nothing() -> None:
    trained = network()
    averaged = AveragedWeights(trained)
    assert averaged.network is trained
    training(trained, averaged)
    assert float(trained.weight) == 4.0
    assert averaged.state_dict() == {}
    with pytest.raises(ConfigError, match="decay"):
        AveragedWeights(trained, 1.0)
