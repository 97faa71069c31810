"""A batch of KeyUsed -> distinct events -> hourly, monthly and daily sums."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.errors import LogUnavailable
from events.log import Record, appended_at
from events.queries import load_queries
from events.topics import Topics
from events.usage import KeyUsed
from services.projector.array_text import array_text
from services.projector.rows import Row
from services.projector.usage_duplicates import judge_duplicates
from services.projector.usage_identities import (
    find_remembered,
    forget_facts,
    lock_homes,
    make_periods,
    near_periods,
    remember,
)
from services.projector.usage_judging import judge, one_letter_each, unknown_key
from services.projector.usage_replays import (
    is_judged,
    needs_no_letter,
    remember_refused,
    restore_replays,
    settle,
)
from services.projector.usage_rows import Use

_KEYS_QUERIES = load_queries("services.projector")
_QUERIES = load_queries("services.projector", "usage.sql")

#: Where each partition of keys.lifecycle ends now. Raises `LogUnavailable`.
LifecycleEnds = Callable[[], Awaitable[Mapping[int, int]]]

#: Postgres ends a transaction that is idle for 8 s.
ENDS_TIMEOUT_SECONDS = 4.0
#: Longer than keys lag behind in quiet times; a rebuild is waited for outside of the transaction.
PATIENCE_SECONDS = 1.0
POLL_SECONDS = 0.02


class UsageProjection:
    """Keeps the sums of all uses, each counted once."""

    name = "usage"

    def __init__(self, topics: Topics, lifecycle_ends: LifecycleEnds) -> None:
        self.topic = topics.usage
        self.dead_letter_topic = topics.usage_dead_letters.name
        self._partitions = topics.usage.partitions
        self._lifecycle = topics.lifecycle.name
        self._lifecycle_ends = lifecycle_ends

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """See `Projection.apply`. Raises `LogUnavailable` while it cannot be said whether a key is known."""
        if not records:
            return ()
        restored = await restore_replays(connection, records)
        judged = [(record, use) for record in restored for use in judge(record) if is_judged(record, use)]
        uses = [(record, event) for record, event in judged if isinstance(event, KeyUsed)]
        letters = [
            letter for _, letter in judged if isinstance(letter, DeadLetter) and not needs_no_letter(letter)
        ]
        lineage_ids = await self._lineages(connection, {event.data.key_id for _, event in uses})
        known = [use for use in uses if use[1].data.key_id in lineage_ids]
        unknown = [use for use in uses if use[1].data.key_id not in lineage_ids]
        # These first: they name the class of a letter that has several, and can be replayed.
        letters = [*(unknown_key(*use) for use in unknown), *letters]
        await settle(connection, [event for _, event in known])
        await remember_refused(connection, unknown, newest_ms=records[-1].timestamp)
        letters += await count_uses(
            connection,
            [
                Use.of(record, event, lineage_ids[event.data.key_id], self._partitions)
                for record, event in known
            ],
        )
        await note_progress(connection, records)
        return one_letter_each(letters)

    async def _lineages(
        self, connection: AsyncConnection[Any], key_ids: Collection[str]
    ) -> Mapping[str, str]:
        """The lineage of each key; no entry for those that nobody has created."""
        found = await find_lineages(connection, key_ids)
        if len(found) < len(key_ids):
            # A use may overtake the creation of its key: from a topic of its own, maybe on another broker.
            await self._see_every_creation(connection)
            found = await find_lineages(connection, key_ids)
        return found

    async def _see_every_creation(self, connection: AsyncConnection[Any]) -> None:
        """Wait until every key is here that the log has by now. Raises `LogUnavailable` after a second."""
        try:
            async with asyncio.timeout(ENDS_TIMEOUT_SECONDS):
                ends = await self._lifecycle_ends()
        except TimeoutError:
            raise LogUnavailable(f"{self._lifecycle} does not say where it ends") from None
        # For these very ends: while keys are created all the time, the next ones would be too far as well.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while behind := await self._behind(connection, ends):
            if time.monotonic() > deadline:
                raise LogUnavailable(f"keys are not there yet from {self._lifecycle}/{min(behind)}")
            await asyncio.sleep(POLL_SECONDS)

    async def _behind(self, connection: AsyncConnection[Any], ends: Mapping[int, int]) -> Sequence[int]:
        """The partitions of keys.lifecycle that Postgres has not passed up to there."""
        cursor = await connection.execute(_KEYS_QUERIES["positions"], {"topic": self._lifecycle})
        positions: dict[int, int] = dict(await cursor.fetchall())
        return [partition for partition, end in ends.items() if positions.get(partition, 0) < end]


async def find_lineages(connection: AsyncConnection[Any], key_ids: Collection[str]) -> Mapping[str, str]:
    if not key_ids:
        return {}
    cursor = await connection.execute(_QUERIES["find_lineages"], {"key_ids": array_text(sorted(key_ids))})
    return dict(await cursor.fetchall())


async def count_uses(connection: AsyncConnection[Any], uses: Sequence[Use]) -> Sequence[DeadLetter]:
    """Within a transaction: add uses of one partition, in order, to the sums. Returns conflicting ones."""
    if not uses:
        return ()
    await lock_homes(connection, {use.facts.home for use in uses})
    periods = {use.period for use in uses}
    tables = near_periods(periods, await make_periods(connection, periods))
    known = await find_remembered(connection, (use.identity for use in uses), tables)
    judged = judge_duplicates(uses, known)
    await remember(connection, judged.remembered)
    await forget_facts(connection, judged.withdrawn)
    if judged.changes:
        await _roll_up(connection, judged.changes, has_withdrawn=bool(judged.withdrawn))
    return judged.letters


async def note_progress(connection: AsyncConnection[Any], records: Sequence[Record]) -> None:
    """How far one partition is, by the broker's time."""
    newest = appended_at(max(record.timestamp for record in records))
    progress = {"partition": records[0].partition, "appended_at": newest}
    await connection.execute(_QUERIES["note_progress"], progress)


async def _roll_up(connection: AsyncConnection[Any], rows: Iterable[Row], *, has_withdrawn: bool) -> None:
    await connection.execute(_QUERIES["create_batch"])
    async with connection.cursor().copy(_QUERIES["copy_batch"]) as copy:
        for row in rows:
            await copy.write_row(row)
    # Planned anew each time: the tables may have grown a thousandfold since the last plan.
    await connection.execute(_QUERIES["roll_up"], prepare=False)
    if has_withdrawn:
        for query in ("clear_months", "clear_days"):
            await connection.execute(_QUERIES[query])
