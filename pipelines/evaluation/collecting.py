"""What every report of an evaluation does: it collects what each case gives, of all processes, each once."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import ignite.distributed as idist
from ignite.engine import Engine, Events

from pipelines.errors import ConfigError
from pipelines.preparation.synthetic import refuse_synthetic


class Collected(Protocol):
    """What is collected; equal keys are the same case (or the same slice of it), which a sampler gave twice."""

    @property
    def key(self) -> Any: ...


T = TypeVar("T", bound=Collected)


class Report(ABC, Generic[T]):
    """A handler of a ``SupervisedEvaluator`` that decollates (its default).

    It hands each item of ``engine.state.output``, with that of ``engine.state.batch``, to ``collect``, and what came of
    all of them to ``finish`` when the epoch is over, before the handlers of ``COMPLETED`` look for metrics.

    Args:
        output_dir: folder for the files.
        prefix: of the metric names.
        n_resamples: bootstrap samples of the intervals.

    Raises:
        ConfigError: while running, where the evaluator does not decollate.
        DatalistError: while running, of a generated picture.
    """

    def __init__(self, output_dir: str | os.PathLike[str], prefix: str = "test", n_resamples: int = 2000) -> None:
        self.output_dir = Path(output_dir)
        self.prefix = prefix
        self.n_resamples = n_resamples
        self._collected: list[T] = []

    @property
    def name(self) -> str:
        """What a config calls it."""
        return type(self).__name__

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def start(self, engine: Engine) -> None:
        """What is to be done before the first item."""

    @abstractmethod
    def collect(self, item: Mapping[str, Any]) -> Iterable[T]:
        """What one decollated item gives.

        Raises:
            ConfigError: it lacks a key, or shapes do not go together.
        """

    @abstractmethod
    def finish(self, engine: Engine, collected: Sequence[T]) -> None:
        """What is made of the items: of several processes of those of all of them, in the order of their keys.

        Files are the first process's; metrics go into ``engine.state.metrics`` of each.
        """

    def required(self, item: Mapping[str, Any], *keys: str) -> None:
        """Say which key an item lacks.

        Raises:
            ConfigError: one of them.
        """
        for key in keys:
            if key not in item:
                raise ConfigError(f"the evaluator's items have no {key!r}", where=self.name)

    def _start(self, engine: Engine) -> None:
        self._collected = []
        self.start(engine)

    def _collect(self, engine: Engine) -> None:
        outputs, batch = engine.state.output, engine.state.batch
        if not isinstance(outputs, list):
            raise ConfigError(
                "the evaluator's output is not a list of cases", where=self.name, how="leave decollate on"
            )
        inputs = batch if isinstance(batch, list) and len(batch) == len(outputs) else [{}] * len(outputs)
        for given, output in zip(inputs, outputs, strict=True):
            self._refuse_synthetic(given)
            self._collected += self.collect({**given, **output})

    def _refuse_synthetic(self, item: Mapping[str, Any]) -> None:
        """Raise DatalistError of a generated picture (by the mark in its file): no figure may be of one."""
        path = getattr(item.get("image"), "meta", {}).get("filename_or_obj")
        if isinstance(path, str):
            refuse_synthetic(path, "among the cases that are evaluated")

    def _finish(self, engine: Engine) -> None:
        parts = cast(list[list[T]], idist.all_gather(self._collected))
        collected = self._collected
        if len(parts) > 1:
            found: dict[Hashable, T] = {each.key: each for part in parts for each in part}
            collected = [found[key] for key in sorted(found)]  # type: ignore[type-var]
        self.finish(engine, collected)
        self._collected = []
