"""What runs in the processes of a cluster: workers with a model each, and the foreman who gives cases out and knows
what became of them."""

from __future__ import annotations

import contextlib
import pickle
import queue
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines import lean
from pipelines.errors import ConfigError, PipelinesError

if TYPE_CHECKING:
    from pipelines.prediction import Answer, Asked, Due

TRIES = 3  # of a case that ends its worker, and of a worker that ends before it has a model
_FAILED = 1  # the exit code of a case that is not the input's fault


@dataclass(frozen=True)
class Plan:
    """What all workers know.

    Attributes:
        asked: of what answers are made (``Asked``), pickled: only a worker imports what it takes to open it.
        recipe: that theirs must have.
        cases: that each of them will do, about.
    """

    asked: bytes
    recipe: str
    cases: int


@dataclass(frozen=True)
class Told:
    """What a worker says of a case: its answer, or the fault that the next case would meet too."""

    number: int
    answer: Answer | None = None
    fault: PipelinesError | None = None


@dataclass(frozen=True)
class News:
    """What the foreman has to say.

    Attributes:
        told: what workers said since the last time, each a pickled ``Told``.
        again: numbers of cases that were begun again since then, their workers having been ended.
        started: whether a worker has begun.
        error: why the job broke off.
        over: nothing is to come.
    """

    told: list[bytes]
    again: list[int]
    started: bool
    error: str | None
    over: bool


class Worker:
    """A model, opened once, and called with a case at a time. Nothing but a kill ends it."""

    def __init__(self, plan: Plan, foreman: Any) -> None:
        import ray

        self._plan = plan
        self._foreman = foreman
        self._fault: PipelinesError | None = None
        number = ray.get_runtime_context().get_actor_id()
        if not ray.get(foreman.begin.remote(number)):
            what = f"a worker on {socket.gethostname()} was ended {TRIES} times before it had its model"
            self._fault = ConfigError(what, how="it may need more memory: give fewer --workers")
            return
        try:
            self._open()
        except PipelinesError as error:
            self._fault = error
        except Exception as error:
            self._fault = ConfigError(f"a worker cannot open the bundle ({type(error).__name__}: {error})")
        ray.get(foreman.end.remote(number))

    def _open(self) -> None:
        with lean.starting():
            asked: Asked = pickle.loads(self._plan.asked)  # noqa: S301 - by the job that made this worker
        self._model = asked.open()
        self._model.cases = self._plan.cases
        if asked.recipe(self._model) != self._plan.recipe:
            what = f"{socket.gethostname()} has other configs, weights or another version than the machine that asks"
            raise ConfigError(what, where=asked.bundle, how="give all machines the same bundle and installation")

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        """``{"due": a pickled (number, item, outcome)}`` to ``{"told": a pickled Told}``; pickled, because names of
        files need not be UTF-8."""
        number, item, due = pickle.loads(row["due"])  # noqa: S301 - by the same
        return {"told": pickle.dumps(self._told(number, item, due))}

    def _told(self, number: int, item: dict[str, Any], due: Any) -> Told:
        import ray

        if self._fault is not None:
            return Told(number, fault=self._fault)
        from pipelines.prediction import predict_case

        if not ray.get(self._foreman.begin.remote(number)):
            text = (
                f"{due.input}: the worker was ended {TRIES} times while it was at this case; it may need more memory: "
                "give fewer --workers, and --resume"
            )
            return Told(number, (replace(due, status="failed", error=text), _FAILED))
        try:
            told = Told(number, predict_case(self._model, item, due, summarise=False))
        except PipelinesError as error:
            told = Told(number, fault=error)
        ray.get(self._foreman.end.remote(number))
        return told


class Foreman:
    """Runs the job within the cluster, counts how often each case was begun, and hands out what came of it.

    Args:
        plan: of the workers.
        workers: how many.
        processors, gpus: that each holds.
    """

    def __init__(self, plan: Plan, workers: int, processors: int, gpus: float) -> None:
        self._plan = plan
        self._workers = workers
        self._holds = (processors, gpus)
        self._begun: Counter[Any] = Counter()
        self._again: list[int] = []
        self._started = False
        self._said: queue.Queue[bytes] = queue.Queue()
        self._error: str | None = None
        self._over = threading.Event()

    def begin(self, what: Any) -> bool:
        """Whether a case, or a worker, may be tried once more."""
        self._begun[what] += 1
        if isinstance(what, str):  # a worker's name
            self._started = True
        elif 1 < self._begun[what] <= TRIES:
            self._again.append(what)
        return self._begun[what] <= TRIES

    def end(self, what: Any) -> None:
        """It was not ended by a kill."""
        del self._begun[what]

    def run(self, due: Sequence[Due]) -> None:
        """Do all cases; what comes of each is for ``more``."""
        import ray.data

        me = ray.get_runtime_context().current_actor
        try:
            rows = [{"due": pickle.dumps((number, *each))} for number, each in enumerate(due)]
            processors, gpus = self._holds
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                Worker,  # type: ignore[arg-type] # a class, which Ray makes a callable of
                fn_constructor_args=(self._plan, me),
                compute=ray.data.ActorPoolStrategy(size=self._workers, max_tasks_in_flight_per_actor=2),
                num_cpus=processors,
                num_gpus=gpus or None,
            )
            for row in done.iter_rows():
                self._said.put(row["told"])
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"
        finally:
            self._over.set()

    def more(self, seconds: float) -> News:
        """What there is to say, awaited for some seconds."""
        over = self._over.is_set()
        told: list[bytes] = []
        with contextlib.suppress(queue.Empty):
            told.append(self._said.get(timeout=0 if over else seconds))
            while True:
                told.append(self._said.get_nowait())
        again, self._again = self._again, []
        return News(told, again, self._started, self._error, over)
