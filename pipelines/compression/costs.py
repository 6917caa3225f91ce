"""What a form of a network costs to run: its time in turns with the others, and the memory that it takes."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from pickle import PicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.errors import PipelinesError
from pipelines.runtimes import open_session

logger = logging.getLogger(__name__)

Forward = Callable[[NDArray[np.float32]], Any]
MIB = 2**20
ROUNDS = 100  # of measuring time, at most
_LEAST, _LONG = 10, 30.0  # rounds, and seconds after which no more than these
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RUNS = 3  # before the peak is read


def eager_forward(network: torch.nn.Module) -> Forward:
    """A network run by PyTorch, in float32, images of two dimensions with their channels last, as the bundles' inferers
    give them."""

    def forward(images: NDArray[np.float32]) -> torch.Tensor:
        given = torch.from_numpy(images)
        if given.ndim == 4:
            given = given.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            return network(given)

    return forward


def times_in_turns(
    forms: Mapping[str, Forward], images: NDArray[np.float32], rounds: int = ROUNDS
) -> dict[str, NDArray[np.float64]]:
    """Seconds of a call of each form in each round. They take turns, so that what else the machine does meets all of
    them alike; one round before is not counted, and none is begun after half a minute once there are ten.

    Args:
        images: what each is called with.
        rounds: at most.
    """
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    first = time.perf_counter()
    for number in range(rounds + 1):
        if number > _LEAST and time.perf_counter() - first > _LONG:
            break
        for name, forward in forms.items():
            begun = time.perf_counter()
            forward(images)
            if number:
                seconds[name].append(time.perf_counter() - begun)
    return {name: np.array(each) for name, each in seconds.items()}


def ratio(seconds: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """The median over rounds of one form's time as part of another's in the same round."""
    return float(np.median(seconds / reference))


def peak_memory(form: torch.nn.Module | bytes, images: NDArray[np.float32]) -> float | None:
    """MiB that opening a form and running it adds to a fresh process at the most (``VmHWM`` of Linux, less what the
    process has once its runtime is imported); None where the system does not tell.

    Args:
        form: a network, run by PyTorch, or an ONNX graph, run by onnxruntime.
        images: for it, as (B, …).
    """
    if not _CLEAR.exists():
        return None
    context = multiprocessing.get_context("spawn")  # a fork would have this process's memory
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measured, form, images, torch.get_num_threads()).result()
        except (OSError, PipelinesError, BrokenProcessPool, PicklingError, AttributeError) as error:
            logger.warning("the peak memory could not be measured (%s)", error)
            return None


def _measured(form: torch.nn.Module | bytes, images: NDArray[np.float32], threads: int) -> float:
    torch.set_num_threads(threads)
    if isinstance(form, bytes):
        import onnxruntime  # noqa: F401 - what the runtime itself takes is not the network's

    _CLEAR.write_text("5")  # the peak is that of what follows
    before = _kilobytes("VmRSS")
    forward = open_session("onnxruntime", form, threads=threads) if isinstance(form, bytes) else eager_forward(form)
    for _ in range(_RUNS):
        forward(images)
    weights = 0 if isinstance(form, bytes) else _bytes(form.parameters())  # they are here already
    return (_kilobytes("VmHWM") - before) * 1024 / MIB + weights / MIB


def _bytes(tensors: Any) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def _kilobytes(key: str) -> int:
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def parameters(network: torch.nn.Module) -> tuple[int, int]:
    """How many parameters a network has, and how many of them are not 0."""
    numbers: Sequence[torch.Tensor] = [each.detach() for each in network.parameters()]
    return sum(each.numel() for each in numbers), sum(int(each.count_nonzero()) for each in numbers)
