"""Cases given to the workers of a Ray cluster, and their answers as they come."""

from __future__ import annotations

import logging
import math
import os
import pickle
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.distributed.cluster import LOCAL, Resources, cluster
from pipelines.distributed.worker import Foreman, News, Plan, Told
from pipelines.errors import ServerError

if TYPE_CHECKING:
    from pipelines.prediction import Answer, Asked, Due

logger = logging.getLogger(__name__)

_WAIT = 1.0  # seconds until a call to the foreman comes back without news
_PATIENCE = 60.0  # seconds until it is said that no worker has begun
_CALLS = 16  # of the foreman at once: its job, ours for news, and those of workers, which are short


@dataclass(frozen=True)
class RayJob:
    """``elsewhere`` of ``predict``: a Ray Data job, with one model a worker.

    A worker that is killed is begun anew, and the case that it was at is done again; after three times the case is
    ``failed``. All machines must see the bundle, the inputs and the folder of results under the same paths.

    Attributes:
        address: ``local`` for a cluster of this machine and this call alone, ``auto``, ``HOST:PORT``, ``ray://HOST:PORT``.
        workers: how many; None for one a processor, or one a GPU where there are any.
        device: "cpu" leaves GPUs alone.
        logs: show what workers print.
        tell: is told, in a line, with how many workers it begins.
    """

    address: str = LOCAL
    workers: int | None = None
    device: str | None = None
    logs: bool = False
    tell: Callable[[str], object] = lambda line: None

    def __call__(self, asked: Asked, due: Sequence[Due]) -> Generator[Answer, None, None]:
        """The answers as they come; the job ends with the iterator.

        Raises:
            UsageError: Ray is not installed, or the address is none.
            ServerError: there is no such cluster, or it does not do the job.
            ConfigError: a worker has another bundle or installation.
            PipelinesError: what stops all cases, such as a full disk.
        """
        if not due:
            return
        cores = len(os.sched_getaffinity(0))
        with cluster(self.address, max(cores, self.workers or 0), logs=self.logs) as there:
            yield from self._answers(asked, due, there)

    def _answers(self, asked: Asked, due: Sequence[Due], there: Resources) -> Generator[Answer, None, None]:
        import ray

        workers, processors, gpus = self._shares(there, len(due))
        plan = Plan(pickle.dumps(asked), str(due[0][1].recipe), max(1, len(due) // workers))
        options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": _CALLS}
        if there.inside:  # what must not be lost is on the machine that asks
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                here, soft=True
            )
        foreman: Any = ray.remote(Foreman).options(**options).remote(plan, workers, processors, gpus)
        self.tell(f"{workers} worker{'s' if workers > 1 else ''} of Ray, which first open the bundle")
        foreman.run.remote(list(due))
        left = dict(enumerate(due))
        begun, patient, over = time.monotonic(), True, False
        try:
            while left and not over:
                news: News = ray.get(foreman.more.remote(_WAIT))
                over = news.over
                for number in news.again:
                    logger.warning("%s: its worker was ended, and the case is begun again", due[number][1].case)
                for each in news.told:
                    told: Told = pickle.loads(each)  # noqa: S301 - by our workers, over Ray, which pickles everything
                    if told.fault is not None:
                        raise told.fault
                    if told.answer is not None and left.pop(told.number, None) is not None:
                        yield told.answer
                if news.error is not None:
                    raise ServerError(f"the Ray job broke off ({_short(news.error)})", where=self.address, how=_HOW)
                if patient and not news.started and time.monotonic() - begun > _PATIENCE:
                    patient = False
                    logger.warning("no worker has begun yet: %s", _free(processors, gpus))
        except ray.exceptions.RayError as error:
            what = f"the Ray job broke off ({_short(str(error))})"
            raise ServerError(what, where=self.address, how=_HOW) from error
        finally:
            ray.kill(foreman)  # and with it its workers
        for _, outcome in left.values():
            text = f"{outcome.input}: Ray lost it; the same call with --resume goes on"
            yield replace(outcome, status="failed", error=text), 1

    def _shares(self, there: Resources, cases: int) -> tuple[int, int, float]:
        """How many workers, and the processors and GPUs of each."""
        gpus = 0 if self.device == "cpu" else there.gpus
        workers = self.workers or max(1, gpus or there.cpus)
        workers = min(workers, cases)
        processors = max(1, there.cpus // workers) if self.address == LOCAL else 1
        return workers, processors, 1 / math.ceil(workers / gpus) if gpus else 0.0


_HOW = "the same call with --resume goes on"


def _short(text: str) -> str:
    """The last line of an error that is not empty: that of its cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason is given"


def _free(processors: int, gpus: float) -> str:
    import ray

    free = ray.available_resources()
    has = f"{free.get('CPU', 0):g} processors and {free.get('GPU', 0):g} GPUs are free"
    return f"{has}, and each needs {processors} and {gpus:g}; `ray status` shows who has them"
