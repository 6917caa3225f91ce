"""When a series counts as complete."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pipelines.dicom_node.arrivals import CUT, Arrivals


@dataclass(eq=False)
class Association:
    alive: bool = True
    is_released: bool = False

    def is_alive(self) -> bool:
        return self.alive

    def end(self, *, released: bool = True) -> None:
        self.alive, self.is_released = False, released


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arrivals(clock) -> Arrivals:
    return Arrivals(10.0, clock)


def test_a_series_is_complete_some_time_after_its_association_was_released(arrivals, clock) -> None:
    one = Association()
    arrivals.stored(one, "s")
    clock.now += 1000
    assert arrivals.sweep() == []
    assert not arrivals.take("s")
    one.end()
    assert arrivals.sweep() == ["s"]
    clock.now += 9.9
    assert not arrivals.take("s")
    clock.now += 0.1
    assert arrivals.take("s")
    assert not arrivals.take("s")  # until more of it arrives


def test_one_that_was_cut_off_waits_longer_for_its_sender(arrivals, clock) -> None:
    one, again = Association(), Association()
    arrivals.stored(one, "s")
    one.end(released=False)
    assert arrivals.sweep() == []
    clock.now += 10.0 * CUT - 1
    assert not arrivals.take("s")
    arrivals.stored(again, "s")
    again.end()
    assert arrivals.sweep() == ["s"]
    clock.now += 10.0
    assert arrivals.take("s")


def test_all_associations_that_bring_it_are_waited_for(arrivals, clock) -> None:
    one, other = Association(), Association()
    arrivals.stored(one, "s")
    arrivals.stored(other, "s")
    one.end()
    assert arrivals.sweep() == []  # not released as a whole
    clock.now += 100
    assert not arrivals.take("s")
    other.end()
    assert arrivals.sweep() == ["s"]


def test_what_was_never_told_of_is_not_complete(arrivals, clock) -> None:
    clock.now += 1e6
    assert not arrivals.take("s")
    arrivals.expect("s", cut=False)
    clock.now += 10
    assert arrivals.take("s")
