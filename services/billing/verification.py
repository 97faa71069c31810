"""Are ledger, accounts and statements what the log says, and do the statements add up?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import AsyncConnection, IsolationLevel

from events.errors import LogUnavailable
from events.kafka_log import KafkaLogReader
from events.keeper.database import connect
from events.log import Record
from events.queries import load_queries
from events.settings import KafkaSettings
from events.topics import Topic, Topics
from services.billing.arithmetic import Hour, check_statements
from services.billing.fold import Folded, Rows

_QUERIES = load_queries("services.billing")

#: So many times in a row the log may have nothing to read, a second each; what is verified has an end.
PATIENCE_READS = 30

Progress = Callable[[int, int], None]


async def verify(
    kafka: KafkaSettings,
    topics: Topics,
    database_url: str,
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs from the fold of the log, or statement that does not add up.

    All of the ledger is held in memory. `on_progress` is told how many records of how many are passed.
    Raises `LogUnavailable`, `WrongLog`, and psycopg's errors (`UndefinedTable`: there is no ledger).
    """
    found = await _picture(database_url)
    folded = Folded()
    total = sum(found.positions.values())
    passed = 0
    for topic, fold in (
        (topics.hourly_usage, folded.totals),
        (topics.lifecycle, folded.created),
        (topics.statements, folded.statement),
    ):
        until = {partition: found.positions.get((topic.name, partition), 0) for partition in range(topic.partitions)}
        async for records, positions in _read(kafka, topic, until):
            for record in records:
                fold(record, is_applied=record.offset < until[record.partition])
            on_progress(passed + sum(min(positions[at], end) for at, end in until.items()), total)
        passed += sum(until.values())
    return [*_behind(found, folded), *_differences(found, folded), *check_statements(folded)]
