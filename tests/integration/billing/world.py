"""One log, one database, and the billing that a test runs between them, at a time of the test's choosing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from events.codec import encode
from events.errors import UnreadableRecord
from events.kafka_cluster import end_offsets
from events.kafka_log import KafkaEventLog
from events.keeper.database import connect
from events.keys import KeyEvent
from events.log import EventLog, Record
from events.settings import KafkaSettings
from events.topics import Topic, Topics
from events.totals import HourlyUsage, Statement, StatementClosed, StatementRevisions
from services.billing.app import run
from services.billing.books import open_books
from services.billing.months import due_at
from services.billing.reading import read_statement
from services.billing.settings import BillingSettings
from services.billing.verification import verify
from services.local.ports import free_ports
from tests.fakes import ManualTime
from tests.log_records import everything
from tests.totals import some_published_usage

POLL_SECONDS = 0.02


class World:
    """What a test names to begin with."""

    def __init__(self, kafka: KafkaSettings, topics: Topics, database_url: str, folder: Path) -> None:
        self.kafka = kafka
        self.topics = topics
        self.database_url = database_url
        self._folder = folder
        self._groups = 0

    def environment(self) -> dict[str, str]:
        """Of a billing process in a group of its own, so that no dead one's partitions are waited for."""
        self._groups += 1
        (port,) = free_ports(1)
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": self.topics.prefix,
            "DATABASE_URL": self.database_url,
            "METRICS_PORT": str(port),
            "BILLING_GROUP": f"billing-{self._groups}",
            "BILLING_CLOSING_INTERVAL_SECONDS": "0.1",
        }

    @asynccontextmanager
    async def billing(self, time: ManualTime, *, announced: bool = True) -> AsyncIterator[asyncio.Task[None]]:
        """Billing, run by this very process, where host and broker have that time; stopped as SIGTERM would.

        `announced`: all use that the test tells, it tells as published.
        """
        if announced:
            await self.announce()
        settings = BillingSettings.from_environment(self.environment())
        stopping = asyncio.Event()
        clock = time.clock()

        async def broker(log: EventLog, topic: str) -> datetime:
            return clock.now()

        running = asyncio.create_task(run(settings, stopping, clock, broker))
        try:
            await eventually(self._is_made, "the schema")
            yield running
        finally:
            stopping.set()
            await running

    async def killed_billing(self, now: datetime, step: str) -> int:
        """The exit code of a billing process at that time which kills itself at the step."""
        await self.announce()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.billing.killed",
            now.isoformat(),
            step,
            env=self.environment(),
            cwd=Path(__file__).parents[3],
        )
        try:
            async with asyncio.timeout(30):
                return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    async def announce(self, complete_until: datetime = datetime(2100, 1, 1, tzinfo=UTC)) -> None:
        """As the projector does: all that was used before is in usage.hourly. By default whatever comes."""
        event = some_published_usage(complete_until)
        await self.append_raw((self.topics.usage_progress, event.partitionkey.encode(), encode(event)))

    async def append(self, *events: KeyEvent | HourlyUsage | StatementClosed | StatementRevisions) -> None:
        """Events into the topics where they belong, those of a key in order."""
        await self.append_raw(
            *((self._topic(event), event.partitionkey.encode(), encode(event)) for event in events)
        )

    async def append_raw(self, *records: tuple[Topic, bytes | None, bytes | None]) -> None:
        async with KafkaEventLog(self.kafka) as log:
            await asyncio.gather(*(log.append(topic.name, key, value) for topic, key, value in records))

    async def read(self, topic: Topic) -> list[Record]:
        """Everything that a topic holds now, in the order of each partition."""
        return await everything(self.kafka, topic)

    async def sent(self) -> list[tuple[str, bytes]]:
        """Key and value of every statement record, repeated ones as often as they are there."""
        records = await self.read(self.topics.statements)
        return sorted(((record.key or b"").decode(), record.value or b"") for record in records)

    async def statements(self) -> Mapping[str, Statement]:
        """The first record of each lineage and month, by record key."""
        found: dict[str, Statement] = {}
        for record in await self.read(self.topics.statements):
            with suppress(UnreadableRecord):
                event = read_statement(record)
                if isinstance(event, StatementClosed):
                    found.setdefault(event.partitionkey, event.data)
        return found

    async def statements_are(self, *places: tuple[str, date]) -> Mapping[str, Statement]:
        """Wait until just these lineages and months are closed, and billing is done with them."""
        wanted = sorted((lineage_id, month) for lineage_id, month in places)

        async def are_closed() -> bool:
            found = await self.rows("SELECT lineage_id::text, month FROM billing.statement ORDER BY 1, 2")
            return found == wanted and await self.rows("SELECT FROM billing.outgoing") == []

        await eventually(are_closed, f"{len(wanted)} statements")
        return await self.statements()

    async def caught_up(self) -> None:
        """Wait until Postgres has passed all that the topics hold now."""
        topics = [self.topics.hourly_usage, self.topics.lifecycle, self.topics.statements]
        ends = await end_offsets(self.kafka, topics)

        async def has_passed() -> bool:
            async with open_books(self.database_url) as books:
                return await books.have_passed(ends)

        await eventually(has_passed, "billing to have caught up")

    async def verified(self) -> None:
        """Postgres is what the log says, up to the offsets that it is at: nobody may be working on it."""
        assert await self.differences() == []

    async def differences(self) -> list[str]:
        found = await verify(self.kafka, self.topics, self.database_url, patience_seconds=0)
        return found.differences.listed

    async def rows(self, query: str, *parameters: object) -> list[Any]:
        async with await connect(self.database_url, "billing") as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description is not None else []

    async def _is_made(self) -> bool:
        return bool(await self.rows("SELECT WHERE to_regclass('billing.outgoing') IS NOT NULL"))

    def _topic(self, event: KeyEvent | HourlyUsage | StatementClosed | StatementRevisions) -> Topic:
        if isinstance(event, HourlyUsage):
            return self.topics.hourly_usage
        is_statement = isinstance(event, StatementClosed | StatementRevisions)
        return self.topics.statements if is_statement else self.topics.lifecycle


def when_due(month: date) -> ManualTime:
    """The first moment at which the month may be closed."""
    return ManualTime(due_at(month))


async def eventually(
    condition: Callable[[], Awaitable[bool]], what: str, timeout_seconds: float = 30.0
) -> None:
    """Wait until the condition holds. Raises `AssertionError` when that takes too long."""
    deadline = time.monotonic() + timeout_seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:.0f} s in vain for {what}")
        await asyncio.sleep(POLL_SECONDS)
