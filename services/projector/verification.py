"""Is Postgres what the log says? Every row, up to where the log ended when the auditor began."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from psycopg import AsyncConnection

from events.kafka_log import KafkaLogReader
from events.keeper.schema import known_log
from events.keeper.snapshot import Snapshot, auditing, take_snapshot
from events.keeper.verification import (
    PATIENCE_SECONDS,
    Ends,
    Progress,
    Verification,
    ends_of,
    have_passed,
    lag_of,
    settle,
)
from events.lineage import Lineage
from events.log_identity import check_log
from events.settings import KafkaSettings
from events.topics import Topics
from services.projector.schema import projector_schema
from services.projector.unpublished import PublishedSweep
from services.projector.verification_hourly import compare_published
from services.projector.verification_keys import compare_keys
from services.projector.verification_tables import TABLES
from services.projector.verification_usage import compare_usage

ROWS_AT_ONCE = 10_000


async def verify(
    kafka: KafkaSettings,
    topics: Topics,
    database_url: str,
    on_progress: Progress = lambda done, total: None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Verification:
    """What differs from the log, and what is not there yet although it has had the time to be.

    The rows are copied in one short transaction before the log is read. `on_progress` is told how many
    records of how many were read, topic by topic. Raises `LogUnavailable`, `WrongLog`, `WrongSchema`,
    `MissingRight` and psycopg's errors.
    """
    async with AsyncExitStack() as opened:
        lifecycle, usage, hourly = [
            await opened.enter_async_context(KafkaLogReader(kafka, topic))
            for topic in (topics.lifecycle, topics.usage, topics.hourly_usage)
        ]
        ends = await ends_of(
            [
                (topics.lifecycle.name, lifecycle),
                (topics.usage.name, usage),
                (topics.hourly_usage.name, hourly),
            ]
        )
        async with auditing(database_url, projector_schema()) as connection:
            await check_log(kafka, topics, await known_log(connection))
            found, tables = await _settled(connection, ends, patience_seconds)
        with tables:
            lineages: dict[str, Lineage] = {}
            await compare_keys(
                tables, lifecycle, topics.lifecycle.name, lineages, found.differences, on_progress
            )
            found.differences.add(
                await compare_usage(tables, usage, topics.usage.name, lineages, on_progress)
            )
            await compare_published(
                tables,
                hourly,
                topics.hourly_usage.name,
                topics.usage.name,
                found.differences,
                on_progress,
            )
    return found


async def _settled(
    connection: AsyncConnection[Any], ends: Ends, patience_seconds: float
) -> tuple[Verification, Snapshot]:
    """The tables once all is there, or once that has taken too long, and then what is missing."""
    sweep = PublishedSweep()
    is_settled = await settle(
        (lambda: have_passed(connection, ends), lambda: sweep.is_over(connection, ROWS_AT_ONCE)),
        patience_seconds,
    )
    async with connection.transaction():
        tables = await take_snapshot(connection, TABLES)
    found = Verification(lag=lag_of(tables["positions"].rows, ends))
    if not is_settled:
        found.unpublished = sum(1 for _ in tables["all_unpublished"].rows)
    if found.unpublished:
        found.overdue.append(f"{found.unpublished} sums of hours wait to be published in usage.hourly")
    return found, tables
