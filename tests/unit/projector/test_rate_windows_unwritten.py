"""What Postgres does not have yet is neither forgotten nor acknowledged, and has a ceiling."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from services.projector.rate_windows_counts import Window, WindowKey
from services.projector.rate_windows_unwritten import Unwritten

pytestmark = pytest.mark.anyio

KEY: WindowKey = ("lineage", 100)


@dataclass(frozen=True)
class Place:
    partition: int
    offset: int
    timestamp: float = 0.0
    topic: str = "ratelimit.counters"
    key: bytes | None = None
    value: bytes | None = None


@dataclass
class Handled:
    message: Place
    acked: list[Place] = field(default_factory=list)

    def ack(self) -> bool:
        self.acked.append(self.message)
        return True


def a_window(count: int) -> Window:
    return {"nodes": {"one": ("validations", count)}, "last_used": {}}


async def test_a_counter_is_acknowledged_once_it_is_written() -> None:
    unwritten, first, second = Unwritten(), Handled(Place(3, 7, 1.5)), Handled(Place(3, 8, 2.5))
    unwritten.add(first, (KEY, a_window(1)))
    changes = unwritten.changes()
    assert (changes.windows, changes.next_offsets, changes.since) == ({KEY: a_window(1)}, {3: 8}, 1.5)
    unwritten.add(second, None)
    assert first.acked == []
    unwritten.written(changes, changes.next_offsets)
    assert (len(first.acked), second.acked) == (1, [])
    unwritten.written(unwritten.changes(), unwritten.changes().next_offsets)
    assert (len(first.acked), len(second.acked)) == (1, 1)


async def test_what_changes_while_it_is_written_is_written_again() -> None:
    unwritten = Unwritten()
    unwritten.add(Handled(Place(0, 0)), (KEY, a_window(1)))
    changes = unwritten.changes()
    unwritten.add(Handled(Place(0, 1)), (KEY, a_window(2)))
    unwritten.written(changes, changes.next_offsets)
    assert unwritten.changes().windows == {KEY: a_window(2)}
    assert unwritten.changes().next_offsets == {0: 2}
    unwritten.written(unwritten.changes(), unwritten.changes().next_offsets)
    assert (unwritten.changes().windows, unwritten.changes().next_offsets) == ({}, {})
    assert unwritten.included == {0: 2}


async def test_what_was_not_written_stays_whatever_is_added_from_the_table() -> None:
    unwritten = Unwritten()
    unwritten.add(Handled(Place(0, 5)), (KEY, a_window(2)))
    unwritten.changes()  # and the write failed
    unwritten.add_all([(KEY, a_window(1)), (("other", 100), a_window(9))], {0: 5, 1: 4})
    assert unwritten.changes().windows == {KEY: a_window(2), ("other", 100): a_window(9)}
    assert unwritten.changes().next_offsets == {0: 6, 1: 4}


async def test_beyond_its_ceiling_it_has_no_room_until_something_is_written() -> None:
    unwritten = Unwritten(most_waiting=2)
    for offset in range(2):
        await asyncio.wait_for(unwritten.room(), 1)
        unwritten.add(Handled(Place(0, offset)), None)
    waiting = asyncio.create_task(unwritten.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    unwritten.written(unwritten.changes(), unwritten.changes().next_offsets)
    await asyncio.wait_for(waiting, 1)


async def test_what_comes_from_beyond_is_not_acknowledged_before_all_that_lies_in_between() -> None:
    """As Faust hands it out when a partition comes, before it goes on where the group has got to."""
    unwritten, beyond, next_one = Unwritten(), Handled(Place(0, 288)), Handled(Place(0, 4))
    unwritten.add(beyond, (KEY, a_window(288)))
    changes = unwritten.changes()
    assert changes.stretches == {0: (288, 289)}
    unwritten.written(changes, passed=())
    assert (beyond.acked, unwritten.included) == ([], {})
    unwritten.add(next_one, (KEY, a_window(289)))
    assert unwritten.changes().stretches == {0: (4, 5)}
    unwritten.written(unwritten.changes(), passed=[0])
    assert (len(next_one.acked), beyond.acked, unwritten.included) == (1, [], {0: 5})


async def test_where_postgres_lags_behind_the_group_the_log_is_gone_on_with_from_there() -> None:
    """Postgres was made anew, or an old offset was written once more: 4 follows on nothing it has."""
    unwritten, beyond, next_one = Unwritten(), Handled(Place(0, 288)), Handled(Place(0, 4))
    unwritten.add(beyond, (KEY, a_window(288)))
    unwritten.written(unwritten.changes(), passed=())
    unwritten.add_all((), {0: 4})
    assert unwritten.changes().stretches == {0: (0, 4)}
    unwritten.add(next_one, (KEY, a_window(289)))
    assert unwritten.changes().stretches == {0: (0, 5)}
    unwritten.written(unwritten.changes(), passed=[0])
    assert (beyond.acked, len(next_one.acked), unwritten.included) == ([], 1, {0: 5})


async def test_the_last_counter_of_each_partition_is_marked_once() -> None:
    unwritten = Unwritten()
    for place in (Place(0, 4, 1.25), Place(0, 5, 1.5), Place(3, 7, 2.0)):
        unwritten.add(Handled(place), None)
    changes = unwritten.changes()
    assert [mark[1:4] for mark in changes.marks] == [(0, 5, 1500), (3, 7, 2000)]
    unwritten.add(Handled(Place(3, 8, 2.5)), None)
    unwritten.written(changes, changes.next_offsets)
    assert [mark[1:4] for mark in unwritten.changes().marks] == [(3, 8, 2500)]
