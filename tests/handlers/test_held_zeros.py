"""A pruned network stays pruned while it is trained."""

from __future__ import annotations

import torch
from ignite.engine import Engine

from pipelines.compression.pruning import pruned
from pipelines.handlers import HeldZeros


def test_zeros_of_weights_are_held_and_biases_learn() -> None:
    torch.manual_seed(0)
    network = pruned(torch.nn.Linear(4, 3), 0.5)
    torch.nn.init.zeros_(network.bias)
    zero = network.weight.detach() == 0
    before = network.weight.detach().clone()
    optimizer = torch.optim.AdamW(network.parameters(), 0.1)

    def step(engine: Engine, batch: torch.Tensor) -> None:
        optimizer.zero_grad()
        network.train()(batch).square().sum().backward()
        optimizer.step()

    engine = Engine(step)
    HeldZeros(network).attach(engine)
    engine.run([torch.rand(5, 4) + 1] * 3, max_epochs=2)
    assert int(zero.sum()) == 6
    assert torch.equal(network.weight == 0, zero)
    assert (network.weight[~zero] != before[~zero]).all()
    assert (network.bias != 0).all()
