"""What an auditor finds when a schema is compared with the log, and the wait before the two are compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from events.keeper.snapshot import Copied, Row, Snapshot, Table
from events.keeper.spool import SHARES, Spool
from events.log import LogReader
from events.queries import load_queries

#: A platform at work is always some records behind its log: so long the read models may take to get to where
#: the log ended when the auditor began.
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.2
LISTED = 100

#: Told how many records of how many were read.
Progress = Callable[[int, int], None]
#: Where partitions end, by topic and partition.
Ends = Mapping[tuple[str, int], int]
Condition = Callable[[], Awaitable[bool]]

_QUERIES = load_queries("events.keeper")

POSITIONS = Copied(_QUERIES["all_positions"], slice(2))


class Lag(NamedTuple):
    """A partition of the log that Postgres has not followed to where it ended when the auditor began."""

    topic: str
    partition: int
    position: int
    end: int

    def __str__(self) -> str:
        return (
            f"{self.topic}/{self.partition}: Postgres is {self.end - self.position} records behind the log, "
            f"at offset {self.position} of {self.end}"
        )


@dataclass(slots=True)
class Differences:
    """Counts sentences about rows that differ, and keeps the first hundred: all may not fit in memory."""

    count: int = 0
    listed: list[str] = field(default_factory=list)

    def add(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.count += 1
            if len(self.listed) < LISTED:
                self.listed.append(sentence)


@dataclass(slots=True)
class Verification:
    """What was found in one schema. `differences`: up to the offsets that Postgres is at.

    `overdue`: what should have been written by now and was not, a sentence for each kind.
    """

    differences: Differences = field(default_factory=Differences)
    lag: list[Lag] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)
    unpublished: int = 0
    due: dict[str, int] = field(default_factory=dict)

    @property
    def behind(self) -> list[str]:
        """What is not there yet, in sentences."""
        return [*map(str, self.lag), *self.overdue]

    @property
    def problems(self) -> list[str]:
        """All of it, in sentences; none where everything is there and equal."""
        return [*self.differences.listed, *self.behind]


async def ends_of(readers: Sequence[tuple[str, LogReader]]) -> Ends:
    """Where these topics end now. Raises `LogUnavailable`."""
    return {
        (topic, partition): end
        for topic, reader in readers
        for partition, end in (await reader.end_offsets()).items()
    }


async def settle(conditions: Sequence[Condition], patience_seconds: float) -> bool:
    """Wait until each condition has held, one after the other; False where that takes too long."""
    deadline = time.monotonic() + patience_seconds
    for condition in conditions:
        while not await condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SECONDS)
    return True


async def have_passed(connection: AsyncConnection[Any], ends: Ends) -> bool:
    """Whether the rows follow from the log up to these ends."""
    rows = await (await connection.execute(_QUERIES["all_positions"])).fetchall()
    return not lag_of(rows, ends)


def lag_of(positions: Sequence[Row] | Iterator[Row], ends: Ends) -> list[Lag]:
    """Partitions whose position lies before their end. One without a position was never read."""
    reached = {(topic, partition): position for topic, partition, position in positions}
    return [
        Lag(*place, reached.get(place, 0), end)
        for place, end in sorted(ends.items())
        if reached.get(place, 0) < end
    ]


async def ends_to_compare(
    snapshot: Snapshot, reader: LogReader, topic: str
) -> tuple[Mapping[int, int], list[str]]:
    """Up to where the rows follow from the topic, and what is wrong where the topic ends before that."""
    positions = {
        partition: position for name, partition, position in snapshot["positions"].rows if name == topic
    }
    log_ends = await reader.end_offsets()
    ends = {partition: min(position, log_ends.get(partition, 0)) for partition, position in positions.items()}
    differences = [
        f"{topic}/{partition}: Postgres is at offset {position}, the log ends at {ends[partition]}"
        for partition, position in positions.items()
        if position > ends[partition]
    ]
    return ends, differences


def differences_of_shares(wanted: Spool[Row, Row], found: Table, name: Callable[[Row], str]) -> Iterator[str]:
    """Rows that are missing, too many or different, compared share by share. `name` is given their place."""
    for number in range(SHARES):
        yield from differences(
            dict(wanted.share(number)), dict(found.spool.share(number)), found.columns, name
        )


def differences(
    wanted: Mapping[Row, Row], found: Mapping[Row, Row], columns: Sequence[str], name: Callable[[Row], str]
) -> Iterator[str]:
    """Rows that are missing, too many or different, by place. Names columns, never what is in them."""
    for place in wanted.keys() - found.keys():
        yield f"{name(place)} is missing in Postgres"
    for place in found.keys() - wanted.keys():
        yield f"{name(place)} is in Postgres, but does not follow from the log"
    for place in wanted.keys() & found.keys():
        if wanted[place] != found[place]:
            pairs = zip(columns, wanted[place], found[place], strict=True)
            yield f"{name(place)} differs in " + ", ".join(column for column, a, b in pairs if a != b)
