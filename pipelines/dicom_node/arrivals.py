"""When a series is complete: some time after the associations that brought it were released."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

CUT = 6.0  # times the settling time is waited where an association was cut off: the sender will come again


class Association(Protocol):
    """What is asked of an association: whether its thread lives, and whether it was released and not cut off."""

    is_released: bool

    def is_alive(self) -> bool: ...


class Arrivals:
    """Which series may still grow.

    A series is complete when none of the associations that brought an instance of it is open, and `settle` seconds
    have gone by since the last of them was released; ``CUT`` times as many where it was not released but aborted,
    lost, or ended with the node.

    Args:
        settle: seconds.
        clock: seconds that never go back.
    """

    def __init__(self, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.settle = settle
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[Association, set[str]] = {}
        self._due: dict[str, float] = {}

    def stored(self, association: Association, series: str) -> None:
        """An association brings an instance of a series."""
        with self._lock:
            self._open.setdefault(association, set()).add(series)

    def expect(self, series: str, *, cut: bool) -> None:
        """A series waits from now on, as if its association had ended now."""
        with self._lock:
            self._due[series] = self._clock() + self.settle * (CUT if cut else 1.0)

    def sweep(self) -> list[str]:
        """See which associations have ended; the series of those that were released, and of none that is open."""
        with self._lock:
            released: set[str] = set()
            for association in [each for each in self._open if not each.is_alive()]:
                wait = self.settle * (1.0 if association.is_released else CUT)
                for series in self._open.pop(association):
                    self._due[series] = self._clock() + wait
                    (released.add if association.is_released else released.discard)(series)
            return sorted(released - set().union(*self._open.values(), set()))

    def take(self, series: str) -> bool:
        """Whether nothing more of a series is expected; if so, only what arrives from now on makes it wait again. A
        series that was never told of is not complete."""
        with self._lock:
            if any(series in brought for brought in self._open.values()):
                return False
            if self._clock() < self._due.get(series, float("inf")):
                return False
            del self._due[series]
            return True
