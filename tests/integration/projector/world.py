"""One log, one database, and the projectors that a test runs between them."""

from __future__ import annotations

import asyncio
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from events.codec import decode_total, encode
from events.kafka_log import KafkaEventLog
from events.keeper.database import connect, new_pool
from events.keeper.schema import prepare_schema
from events.keeper.verification import PATIENCE_SECONDS, Verification
from events.keys import KeyEvent
from events.log import Position, Record
from events.projection import Projection
from events.projection_runner import ProjectionRunner
from events.remembered import REMEMBER_SECONDS
from events.settings import KafkaSettings
from events.topics import Topic, Topics
from events.totals import HourlyTotals, HourlyUsage
from events.usage import KeyUsed
from services.local.ports import LOOPBACK, free_ports
from services.local.service import Service
from services.projector.keys import KeysProjection
from services.projector.metrics import ProjectorMetrics
from services.projector.schema import projector_schema
from services.projector.verification import verify
from tests.builders import a_key_created, a_key_revoked, a_key_rotated
from tests.log_records import everything

POLL_SECONDS = 0.02
#: The shortest that the embedded broker grants.
SESSION_TIMEOUT_SECONDS = 6


class ProjectorProcess(Service):
    """`python -m services.projector`, ready when /ready says so."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        (port,) = free_ports(1)
        self.url = f"http://{LOOPBACK}:{port}"
        self._scraped_at = -REMEMBER_SECONDS
        environment = {**environment, "METRICS_PORT": str(port)}
        super().__init__(
            name, folder, [sys.executable, "-m", "services.projector"], environment, f"{self.url}/ready"
        )

    def metric(self, name: str) -> float:
        """The sample of that name, summed over its labels."""
        return sum(self.samples(name))

    def samples(self, name: str) -> Sequence[float]:
        """Those of that name, one for each set of labels, as they stand now."""
        # What was told within a second would be told again.
        time.sleep(max(0.0, self._scraped_at + REMEMBER_SECONDS - time.monotonic()))
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        self._scraped_at = time.monotonic()
        return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} "))]

    def says(self, text: str) -> bool:
        return text in self.log_of_this_run()


class World:
    """What a test names to begin with; every process it starts is killed in the end."""

    def __init__(self, kafka: KafkaSettings, topics: Topics, database_url: str, folder: Path) -> None:
        self.kafka = kafka
        self.topics = topics
        self.database_url = database_url
        self.metrics = ProjectorMetrics()
        self._folder = folder
        self._processes: list[ProjectorProcess] = []

    def projector(self, **environment: str) -> ProjectorProcess:
        """A projector process that has just been started."""
        process = ProjectorProcess(
            f"projector-{len(self._processes)}", self._folder, {**self.environment(), **environment}
        )
        self._processes.append(process)
        process.start()
        return process

    def environment(self) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": self.topics.prefix,
            "DATABASE_URL": self.database_url,
            "PROJECTOR_SESSION_TIMEOUT_SECONDS": str(SESSION_TIMEOUT_SECONDS),
        }

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()

    @asynccontextmanager
    async def runner(self, projection: Projection | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """The projection, run by this very process; stopped as SIGTERM would."""
        async with await connect(self.database_url, "projector") as connection:
            await prepare_schema(connection, projector_schema())
        stopping = asyncio.Event()
        async with new_pool(self.database_url, "projector") as pool, KafkaEventLog(self.kafka) as log:
            runs = projection or KeysProjection(self.topics)
            runner = ProjectionRunner(
                self.kafka,
                pool,
                log,
                runs,
                f"{self.topics.prefix}in-process.{runs.name}",
                self.metrics.of(runs.name),
            )
            running = asyncio.create_task(runner.run(stopping))
            try:
                yield running
            finally:
                stopping.set()
                await asyncio.wait([running])

    async def append(self, events: Iterable[KeyEvent]) -> Sequence[Position]:
        """Events into the lifecycle topic, those of a lineage in order."""
        return await self.append_raw((event.partitionkey.encode(), encode(event)) for event in events)

    async def append_usage(self, events: Iterable[KeyUsed]) -> Sequence[Position]:
        """Events into the usage topic, those of a key in order."""
        records = [(event.data.key_id.encode(), encode(event)) for event in events]
        return await self.append_raw(records, self.topics.usage)

    async def append_raw(
        self, records: Iterable[tuple[bytes | None, bytes | None]], to: Topic | None = None
    ) -> Sequence[Position]:
        """Keys and values into the topic (the lifecycle topic), those of a key in order."""
        topic = (to or self.topics.lifecycle).name
        waiting, places = list(records), list[Position]()
        async with KafkaEventLog(self.kafka) as log:
            while waiting:
                some, waiting = waiting[:500], waiting[500:]
                places += await asyncio.gather(*(log.append(topic, key, value) for key, value in some))
        return places

    async def read(self, topic: Topic) -> Sequence[Record]:
        """Everything that a topic holds now."""
        return await everything(self.kafka, topic)

    async def applied(self) -> int:
        """How many records Postgres has passed."""
        if await self.value("SELECT to_regclass('projector.projection_offset')") is None:
            return 0
        return int(await self.value("SELECT coalesce(sum(next_offset), 0) FROM projector.projection_offset"))

    async def has_applied(self, records: int) -> bool:
        return await self.applied() >= records

    async def uses_applied(self) -> int:
        """How many records of keys.usage Postgres has passed."""
        if await self.value("SELECT to_regclass('projector.projection_offset')") is None:
            return 0
        query = "SELECT coalesce(sum(next_offset), 0) FROM projector.positions WHERE topic = %s"
        return int(await self.value(query, self.topics.usage.name))

    async def uses_settled(self, records: int) -> None:
        """Wait until so many uses are applied and usage.hourly has their sums; then compare with the log."""

        async def settled() -> bool:
            if await self.uses_applied() < records:
                return False
            return int(await self.value("SELECT count(*) FROM projector.usage_unpublished")) == 0

        await eventually(
            settled, f"{records} uses in Postgres and their sums in {self.topics.hourly_usage.name}"
        )

        problems: list[str] = []

        async def agrees() -> bool:
            # Two publishers may send a row twice: what the second one sends may come after the look above.
            problems[:] = (await self.verified()).problems
            return not problems

        try:
            await eventually(agrees, "Postgres to agree with the log")
        except AssertionError as error:
            raise AssertionError(f"{error}: {problems}") from None

    async def hourly_totals(self) -> dict[bytes, list[HourlyTotals]]:
        """What usage.hourly says, by record key, oldest first."""
        totals: dict[bytes, list[HourlyTotals]] = {}
        for record in await self.read(self.topics.hourly_usage):
            event = decode_total(record.value)
            assert isinstance(event, HourlyUsage)
            assert record.key is not None
            totals.setdefault(record.key, []).append(event.data)
        return totals

    async def claims(self) -> object:
        """Who owns each partition of each projection: another value after each claim."""
        return await self.value(
            "SELECT array_agg(owner_epoch ORDER BY partition) FROM projector.projection_offset"
        )

    async def has_other_claims(self, than: object) -> bool:
        return await self.claims() != than

    async def execute(self, statement: str) -> None:
        async with await connect(self.database_url, "projector") as connection:
            await connection.execute(statement)

    async def value(self, query: str, *parameters: object) -> Any:
        """The only value that the query returns, or None where it returns none."""
        async with await connect(self.database_url, "projector") as connection:
            row = await (await connection.execute(query, parameters)).fetchone()
        return row[0] if row else None

    async def caught_up(self, records: int) -> None:
        """Wait until Postgres has passed so many records, then see that it is what the log says."""
        await eventually(lambda: self.has_applied(records), f"{records} records in Postgres")
        found = await self.verified()
        assert found.problems == [], found.problems

    async def verified(self, patience_seconds: float = PATIENCE_SECONDS) -> Verification:
        """What the auditor finds."""
        return await verify(self.kafka, self.topics, self.database_url, patience_seconds=patience_seconds)


def lives(records: int) -> list[KeyEvent]:
    """So many events: of keys that are created, rotated and revoked, one after the other."""
    events: list[KeyEvent] = []
    while len(events) < records:
        created = a_key_created()
        rotated = a_key_rotated(created)
        events += [created, rotated, a_key_revoked(rotated)]
    return events[:records]


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], what: str, timeout_seconds: float = 30.0
) -> None:
    """Wait until the condition holds. Raises `AssertionError` when that takes too long."""
    deadline = time.monotonic() + timeout_seconds
    while not await _holds(condition):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:.0f} s in vain for {what}")
        await asyncio.sleep(POLL_SECONDS)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    try:
        found = condition()
        return found if isinstance(found, bool) else await found
    except urllib.error.URLError:  # not listening yet
        return False
