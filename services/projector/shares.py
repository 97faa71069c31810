"""A log worked on by several processes, each with a share of its partitions.

Good for what needs only records of one partition together, as a lineage does.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from events.together import run_all

#: To start another process takes about as long as to fold so many records.
RECORDS_WORTH_A_PROCESS = 50_000

T = TypeVar("T")
Ends = Mapping[int, int]
#: Told how many records of how many are done.
Progress = Callable[[int, int], None]
#: Works on the records before these ends, and tells how many it has done. A function of a module, or a
#: `partial` of one: other processes look it up by its name. Its result is never an int or an exception.
Work = Callable[[Ends, Callable[[int], None]], Coroutine[Any, Any, T]]

# Not forked: a copy of a process whose event loop and threads run is no sound process.
_PROCESSES = get_context("spawn")


async def in_shares(work: Work[T], ends: Ends, on_progress: Progress) -> list[T]:
    """What the work makes of each share: one is done here, the others in processes that start meanwhile.

    Raises what the work raises, wherever it was done; no process outlasts this. Where this one is killed, the
    others end as soon as they have something to tell.
    """
    shares = shares_of(ends, processes=os.cpu_count() or 1)
    done, total = [0] * len(shares), sum(ends.values())
    results: dict[int, T] = {}

    def count(number: int, records: int) -> None:
        done[number] = records
        on_progress(sum(done), total)

    async def work_on(number: int) -> None:
        do = work if number == 0 else partial(_elsewhere, work)
        results[number] = await do(shares[number], partial(count, number))

    # Others first: their processes start while this one works.
    await run_all(*(work_on(number) for number in reversed(range(len(shares)))))
    return [results[number] for number in range(len(shares))]


def shares_of(ends: Ends, processes: int) -> list[Ends]:
    """The partitions dealt out, the longest first, to no more processes than are worth starting."""
    count = max(1, min(processes, len(ends), sum(ends.values()) // RECORDS_WORTH_A_PROCESS))
    longest_first = sorted(ends, key=lambda partition: ends[partition], reverse=True)
    return [{partition: ends[partition] for partition in longest_first[n::count]} for n in range(count)]


async def _elsewhere(work: Work[T], share: Ends, on_records: Callable[[int], None]) -> T:
    """The work, done by a process of its own."""
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_do, args=(work, share, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        while isinstance(said := await asyncio.to_thread(ours.recv), int):
            on_records(said)
    except EOFError:
        raise RuntimeError("a process that worked on a share of the log has died") from None
    finally:
        process.terminate()
        process.join()
    if isinstance(said, Exception):
        raise said
    result: T = said
    return result


def _do(work: Work[T], share: Ends, starter: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the starter, who ends this process then
    try:
        starter.send(asyncio.run(work(share, starter.send)))
    except Exception as error:
        with suppress(OSError):  # a starter that was killed listens no more
            starter.send(error)
