"""Are ledger, accounts and statements what the log says, do they add up, and are all due months closed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from psycopg import AsyncConnection

from events.errors import UnreadableRecord
from events.kafka_log import KafkaLogReader
from events.keeper.schema import known_log
from events.keeper.snapshot import Row, Snapshot, auditing, take_snapshot
from events.keeper.verification import (
    PATIENCE_SECONDS,
    Ends,
    Progress,
    Verification,
    ends_of,
    ends_to_compare,
    have_passed,
    lag_of,
    settle,
)
from events.log import LogReader, Record
from events.log_identity import check_log
from events.log_reading import read_through
from events.queries import load_queries
from events.settings import KafkaSettings
from events.topics import Topics
from services.billing.months import end_of, last_due, month_text
from services.billing.schema import billing_schema
from services.billing.verification_log import FoldedLog
from services.billing.verification_shares import TABLES, compare

_QUERIES = {**load_queries("services.billing"), **load_queries("services.billing", "verification.sql")}


class Fold(Protocol):
    """One of those of `FoldedLog`."""

    def __call__(self, record: Record, *, is_later: bool) -> None: ...


async def verify(
    kafka: KafkaSettings,
    topics: Topics,
    database_url: str,
    on_progress: Progress = lambda done, total: None,
    patience_seconds: float = PATIENCE_SECONDS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Verification:
    """What differs from the log or does not add up, and what is not there yet although it should be.

    The rows are copied in one short transaction before the log is read. `on_progress` is told how many
    records of how many were read, topic by topic. Raises `LogUnavailable`, `WrongLog`, `WrongSchema`,
    `MissingRight` and psycopg's errors.
    """
    async with AsyncExitStack() as opened:
        readers = {
            topic.name: await opened.enter_async_context(KafkaLogReader(kafka, topic))
            for topic in (topics.hourly_usage, topics.lifecycle, topics.statements, topics.usage_progress)
        }
        ends = await ends_of(list(readers.items()))
        async with auditing(database_url, billing_schema()) as connection:
            await check_log(kafka, topics, await known_log(connection))
            found, tables = await _settled(connection, ends, patience_seconds, now)
        log = opened.enter_context(FoldedLog())
        with tables:
            for topic, fold in (
                (topics.hourly_usage.name, log.fold_totals),
                (topics.lifecycle.name, log.fold_account),
                (topics.statements.name, log.fold_statement),
                (topics.usage_progress.name, log.fold_progress),
            ):
                found.differences.add(await _read(readers[topic], topic, tables, fold, on_progress))
            found.differences.add(compare(log, tables))
    return found


async def _settled(
    connection: AsyncConnection[Any], ends: Ends, patience_seconds: float, now: Callable[[], datetime]
) -> tuple[Verification, Snapshot]:
    """The tables once all is there, or once that has taken too long, and then what is missing."""

    async def are_closed() -> bool:
        return not await _due(connection, now())

    async def are_read_back() -> bool:
        return await _rows(connection, "count_outgoing") == [(0,)]

    is_settled = await settle(
        (lambda: have_passed(connection, ends), are_closed, are_read_back), patience_seconds
    )
    async with connection.transaction():
        tables = await take_snapshot(connection, TABLES)
        due = [] if is_settled else await _due(connection, now())
    found = Verification(
        lag=lag_of(tables["positions"].rows, ends),
        due={month_text(month): lineages for month, lineages in due},
    )
    found.overdue += [
        f"use of {month} is not on a statement of {lineages} lineages, and the month was due"
        for month, lineages in found.due.items()
    ]
    if not is_settled:
        ((found.unpublished,),) = tables["count_outgoing"].rows
    if found.unpublished:
        found.overdue.append(f"{found.unpublished} statements wait to be read back from billing.statements")
    return found, tables


async def _read(
    reader: LogReader, topic: str, tables: Snapshot, fold: Fold, on_progress: Progress
) -> list[str]:
    """Fold every record that the topic holds now, and say where Postgres is beyond its end."""
    passed, differences = await ends_to_compare(tables, reader, topic)
    ends = await reader.end_offsets()
    done = 0
    async for records in read_through(reader, ends):
        for record in records:
            with suppress(UnreadableRecord):
                fold(record, is_later=record.offset >= passed.get(record.partition, 0))
        done += len(records)
        on_progress(done, sum(ends.values()))
    return differences


async def _due(connection: AsyncConnection[Any], now: datetime) -> list[Row]:
    month = last_due(now)
    return await _rows(connection, "due_months", before=end_of(month), last_due=month)


async def _rows(connection: AsyncConnection[Any], query: str, **parameters: object) -> list[Row]:
    named: Mapping[str, object] = parameters
    return await (await connection.execute(_QUERIES[query], named)).fetchall()
