"""A log is dealt out to processes, and what they come to is told as if one had done it all."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable

import pytest

from events.errors import WrongLog
from services.projector.shares import RECORDS_WORTH_A_PROCESS, Ends, in_shares, shares_of

MANY = RECORDS_WORTH_A_PROCESS
ENDS = dict.fromkeys(range(4), MANY)

Count = Callable[[int], None]


@pytest.fixture
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_every_partition_is_in_one_share_with_its_end() -> None:
    ends = {partition: MANY + partition for partition in range(12)}
    dealt = shares_of(ends, processes=5)
    assert len(dealt) == 5
    assert sum(map(len, dealt)) == len(ends)
    assert {partition: end for share in dealt for partition, end in share.items()} == ends


def test_shares_are_about_equally_long() -> None:
    ends = {0: 10 * MANY, 1: 1, 2: 9 * MANY, 3: 1}
    assert [sum(share.values()) for share in shares_of(ends, processes=2)] == [10 * MANY + 1, 9 * MANY + 1]


@pytest.mark.parametrize(
    ("ends", "processes"), [({}, 8), ({0: 3, 1: 4}, 8), ({0: 9 * MANY}, 8), ({0: MANY, 1: MANY}, 1)]
)
def test_one_share_is_enough_for_few_records_partitions_or_processors(ends: Ends, processes: int) -> None:
    assert shares_of(ends, processes) == [ends]


@pytest.mark.anyio
@pytest.mark.usefixtures("_two_processors")
async def test_shares_are_worked_on_in_different_processes_and_all_are_told() -> None:
    told: list[tuple[int, int]] = []
    found = await in_shares(name_process, ENDS, lambda *progress: told.append(progress))
    assert {partition for _, partitions in found for partition in partitions} == set(ENDS)
    assert len({process for process, _ in found}) == 2
    assert found[0][0] == os.getpid()
    assert told[-1] == (4 * MANY, 4 * MANY)


@pytest.mark.anyio
@pytest.mark.usefixtures("_two_processors")
async def test_what_another_process_raises_is_raised_here_and_none_is_left() -> None:
    with pytest.raises(WrongLog, match="of partition 1"):
        await in_shares(refuse_elsewhere, ENDS, lambda done, total: None)
    assert multiprocessing.active_children() == []


@pytest.mark.anyio
@pytest.mark.usefixtures("_two_processors")
async def test_a_process_that_dies_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="has died"):
        await in_shares(die_elsewhere, ENDS, lambda done, total: None)


async def name_process(ends: Ends, count: Count) -> tuple[int, list[int]]:
    count(sum(ends.values()))
    return os.getpid(), list(ends)


async def refuse_elsewhere(ends: Ends, count: Count) -> None:
    if 0 in ends:
        await asyncio.sleep(60)  # is ended with the other one
    raise WrongLog(f"of partition {min(ends)}")


async def die_elsewhere(ends: Ends, count: Count) -> None:
    if 0 in ends:
        await asyncio.sleep(60)
    os._exit(1)
