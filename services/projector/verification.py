"""Is Postgres what the log says? Every row, up to the offsets that Postgres is at."""

from __future__ import annotations

from psycopg import IsolationLevel

from events.kafka_log import KafkaLogReader
from events.keeper.database import connect_auditor
from events.lineage import Lineage
from events.settings import KafkaSettings
from events.topics import Topics
from services.projector.verification_hourly import compare_published
from services.projector.verification_keys import compare_keys
from services.projector.verification_tables import Progress
from services.projector.verification_usage import compare_usage


async def verify(
    kafka: KafkaSettings,
    topics: Topics,
    database_url: str,
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs from what the log says; none when all are equal.

    `on_progress` is told how many records of how many were read, topic by topic. Raises `LogUnavailable`,
    `WrongLog`, and psycopg's errors (`UndefinedTable`: there is no projection to verify).
    """
    async with (
        await connect_auditor(database_url, "projector") as connection,
        KafkaLogReader(kafka, topics.lifecycle) as lifecycle,
        KafkaLogReader(kafka, topics.usage) as usage,
        KafkaLogReader(kafka, topics.hourly_usage) as hourly,
    ):
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        async with connection.transaction():
            lineages: dict[str, Lineage] = {}
            return [
                *await compare_keys(connection, lifecycle, topics.lifecycle.name, lineages, on_progress),
                *await compare_usage(connection, usage, topics.usage.name, lineages, on_progress),
                *await compare_published(
                    connection, hourly, topics.hourly_usage.name, topics.usage.name, on_progress
                ),
            ]
