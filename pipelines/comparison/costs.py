"""What each network costs: rebuilt from its bundle's configs with random weights, counted and timed on this machine."""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from pipelines.bundle import input_shape, network_config, network_of_run
from pipelines.comparison.ranking import Row
from pipelines.comparison.runs import Run
from pipelines.errors import UsageError
from pipelines.evaluation import network_cost

logger = logging.getLogger(__name__)

_MIB = 2**20
_ROUNDS = 5
_PATIENCE = 2.0  # seconds of timing a network, about
_LEAST = 0.02  # seconds a measurement, so that the clock's steps do not matter


@dataclass(frozen=True)
class Cost:
    """One forward pass of one input, batch of 1, float32, one thread; NaN where unknown, and ``why_not`` says why.

    Attributes:
        parameters, macs, activation_mb, parameter_mb: see ``NetworkCost``.
        time_ratio: to the first row that could be measured, in the same run on the same machine.
        peak_mb: MiB that building the network and one pass add to the process at most.
        input_shape: of the input.
    """

    parameters: float = math.nan
    macs: float = math.nan
    activation_mb: float = math.nan
    parameter_mb: float = math.nan
    time_ratio: float = math.nan
    peak_mb: float = math.nan
    input_shape: tuple[int, ...] = ()
    why_not: str = ""


class _CannotBuildError(Exception):
    """The network of a run cannot be had from the configs here."""


def recorded_cost(row: Row) -> Cost:
    """What the store alone knows: the number of parameters."""
    return Cost(parameters=_recorded_parameters(row.first))


def measure_costs(rows: Sequence[Row], bundles: Path | None) -> list[Cost]:
    """Cost of each row's network.

    The networks come from ``bundles/EXPERIMENT/configs`` of this project, by name and with the recorded knobs: configs
    that a store holds are not run, since a config can run any code. What is built must have as many parameters as the
    run recorded.

    Args:
        rows: in the order of the table; times are ratios to the first that can be built.
        bundles: the folder of bundles; None where there is none.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a machine that others use too, threads wait for one another, which says nothing
    try:
        return _measure_all(rows, bundles)
    finally:
        torch.set_num_threads(threads)


def _measure_all(rows: Sequence[Row], bundles: Path | None) -> list[Cost]:
    costs: list[Cost] = []
    known: dict[str, Cost] = {}
    reference: tuple[nn.Module, torch.Tensor] | None = None
    read = cache(network_config)
    for row in rows:
        try:
            content, shape = _config_of(row.first, bundles, read)
        except _CannotBuildError as error:
            costs.append(Cost(parameters=_recorded_parameters(row.first), why_not=str(error)))
            continue
        key = json.dumps([row.first.experiment, row.network, shape, content], default=str, sort_keys=True)
        if key not in known:
            try:
                known[key], reference = _measured(ConfigParser(content), row.first, shape, reference)
            except _CannotBuildError as error:
                known[key] = Cost(parameters=_recorded_parameters(row.first), why_not=str(error))
        costs.append(known[key])
    return costs


def _config_of(
    run: Run, bundles: Path | None, read: Callable[[Path, str, str], Mapping[str, Any]]
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What of the bundle's training config builds the run's network, with its numbers; and the shape of one input."""
    if bundles is None:
        raise _CannotBuildError(f"not measured: no bundle {run.experiment} here")
    try:
        content = read(bundles, run.experiment, run.network)
    except UsageError as error:
        raise _CannotBuildError(f"not measured: {error.what}") from error
    shape = input_shape(bundles / run.experiment, content, run.params)
    if len(shape) == 1:
        raise _CannotBuildError("not measured: the run says no size of its inputs")
    return network_of_run(content, run.params), (1, *shape)


def _measured(
    config: ConfigParser, run: Run, shape: tuple[int, ...], reference: tuple[nn.Module, torch.Tensor] | None
) -> tuple[Cost, tuple[nn.Module, torch.Tensor]]:
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            image = torch.zeros(shape)
            counted = network_cost(_built(config), shape)  # a first pass, which also loads what all networks share
            config.parse(reset=True)  # lets go of that network
            before = _start_of_peak()
            network = _built(config)
            network(image)
            peak = _peak() - before
    except Exception as error:  # whatever a config or network raises: the page says that this one is not measured
        logger.debug("%s cannot be built", run.network, exc_info=True)
        reason = str(error).strip().partition("\n")[0][:200]
        raise _CannotBuildError(f"not measured: the network cannot be built ({reason})") from error
    recorded = _recorded_parameters(run)
    if math.isfinite(recorded) and recorded != counted.parameters:
        raise _CannotBuildError(
            f"not measured: built here it has {counted.parameters:,} parameters, and the run recorded {recorded:,.0f}"
        )
    reference = reference or (network, image)
    cost = Cost(
        counted.parameters,
        counted.macs,
        counted.activation_mb,
        counted.parameter_mb,
        1.0 if reference[0] is network else _time_ratio((network, image), reference),
        peak / _MIB,
        shape,
    )
    return cost, reference


def _built(config: ConfigParser) -> nn.Module:
    """A new network of the config, with random weights."""
    found = config.get_parsed_content("network_def", lazy=False)  # not lazy: anew, each time
    if not isinstance(found, nn.Module):
        raise TypeError("network_def is no network")
    return found.eval()


def _time_ratio(one: tuple[nn.Module, torch.Tensor], other: tuple[nn.Module, torch.Tensor]) -> float:
    """How many times as long ``one`` takes: the median over rounds in which both are timed, one after the other."""
    with torch.inference_mode():
        once = [min(_seconds(pair, 1), _seconds(pair, 1)) for pair in (one, other)]  # the first also warms up
        repeats = [max(1, math.ceil(_LEAST / max(seconds, 1e-6))) for seconds in once]
        ratios: list[float] = []
        started = time.perf_counter()
        while len(ratios) < _ROUNDS and (len(ratios) < 3 or time.perf_counter() - started < _PATIENCE):
            first, second = (_seconds(pair, number) for pair, number in zip((one, other), repeats, strict=True))
            ratios.append(first / second)
    return statistics.median(ratios)


def _seconds(pair: tuple[nn.Module, torch.Tensor], repeats: int) -> float:
    network, image = pair
    started = time.perf_counter()
    for _ in range(repeats):
        network(image)
    return (time.perf_counter() - started) / repeats


def _start_of_peak() -> float:
    """Give back what is free, forget the process's peak so far (Linux), and say what it holds, in bytes."""
    gc.collect(1)  # what is new: a network that was let go of
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    return math.nan


def _peak() -> float:
    with suppress(OSError):
        return _status("VmHWM")
    return math.nan


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), math.nan)


def _recorded_parameters(run: Run) -> float:
    try:
        return float(run.params.get("parameters", "nan"))
    except ValueError:
        return math.nan
