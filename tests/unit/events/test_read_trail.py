"""What a reader remembers of what it has read, and compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from events.errors import LogLost
from events.log import Mark
from events.read_trail import ReadTrail

pytestmark = pytest.mark.anyio

SECOND_MS = 1000


class Log:
    """Has lost what the test says, and notes what it was asked for."""

    def __init__(self) -> None:
        self.has_lost: set[Mark] = set()
        self.asked: list[Mark] = []

    async def lost(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        self.asked = sorted(marks)
        return [mark for mark in self.asked if mark in self.has_lost]

    async def epochs(self) -> Mapping[int, int]:
        return {}


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def trail(log: Log) -> ReadTrail:
    return ReadTrail(log.lost, log.epochs)


def mark(offset: int, second: int, partition: int = 0) -> Mark:
    return Mark("keys.lifecycle", partition, offset, second * SECOND_MS, offset)


async def test_one_mark_a_second_is_compared_and_then_the_newest_alone(trail: ReadTrail, log: Log) -> None:
    trail.add([mark(1, 1), mark(7, 1, partition=1)])
    trail.add([mark(2, 1)])
    trail.add([mark(3, 2)])
    await trail.compare()
    assert log.asked == [mark(2, 1), mark(3, 2), mark(7, 1, partition=1)]
    await trail.compare()
    assert log.asked == [mark(3, 2), mark(7, 1, partition=1)]
    trail.add([mark(4, 3)])
    await trail.compare()
    assert log.asked == [mark(3, 2), mark(4, 3), mark(7, 1, partition=1)]


async def test_a_loss_that_was_read_over_is_found_though_the_newest_mark_agrees(
    trail: ReadTrail, log: Log
) -> None:
    trail.add([mark(10, 1)])
    trail.add([mark(40, 9)])
    log.has_lost = {mark(10, 1)}
    trail.raise_if_lost()
    await trail.compare()
    with pytest.raises(LogLost, match="another one stands at offset 10"):
        trail.raise_if_lost()


async def test_who_begins_elsewhere_has_lost_nothing(trail: ReadTrail, log: Log) -> None:
    trail.add([mark(10, 1)])
    log.has_lost = {mark(10, 1)}
    await trail.compare()
    trail.begin()
    trail.raise_if_lost()
    await trail.compare()
    assert log.asked == []
