"""One log, one database, and the windows processes that a test runs between them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from events.codec import encode
from events.kafka_log import KafkaEventLog
from events.keeper.database import connect
from events.keeper.schema import prepare_schema, remember_log
from events.log import Position
from events.log_identity import check_log
from events.totals import WindowCount
from services.projector.schema import projector_schema
from tests.integration.projector.world import ProjectorProcess, World

#: lineage, hour and node.
Counted = tuple[str, int, str]


class WindowsWorld(World):
    """The schema is as the projector leaves it; `make_schema` makes it."""

    def windows(self, *command: str, **environment: str) -> ProjectorProcess:
        """A windows process that has just been started; `command` instead of the usual one."""
        process = WindowsProcess(
            f"windows-{len(self._processes)}",
            self._folder,
            {**self.environment(), **environment},
        )
        process.command = list(command) or process.command
        self._processes.append(process)
        process.start()
        return process

    async def make_schema(self) -> None:
        """As the projector does."""
        async with await connect(self.database_url, "projector") as connection:
            await prepare_schema(connection, projector_schema())
            await remember_log(connection, await check_log(self.kafka, self.topics, None))

    async def count(self, counters: Iterable[WindowCount]) -> Sequence[Position]:
        """Counters into their topic."""
        return await self.count_raw((one.lineage_id.encode(), encode(one)) for one in counters)

    async def count_raw(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> Sequence[Position]:
        topic = self.topics.rate_counters.name
        async with KafkaEventLog(self.kafka) as log:
            return await asyncio.gather(*(log.append(topic, key, value) for key, value in records))

    async def seen(self) -> tuple[Mapping[Counted, int], Mapping[int, int]]:
        """What a worker that starts now would read, in one snapshot: counts, and positions by partition."""
        async with await connect(self.database_url, "projector") as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            windows = await connection.execute(
                "SELECT lineage_id::text, hour, node_id, count FROM projector.rate_windows"
            )
            positions = await connection.execute(
                "SELECT partition, next_offset FROM projector.positions WHERE topic = %s",
                [self.topics.rate_counters.name],
            )
            return {tuple(row[:3]): row[3] async for row in windows}, dict(await positions.fetchall())

    async def has(self, counters: Iterable[WindowCount]) -> bool:
        """Whether Postgres has exactly what follows from these."""
        counts, _ = await self.seen()
        return counts == highest(counters)


class WindowsProcess(ProjectorProcess):
    """`hokusai-auth projector --part windows`, ready when /ready says so."""

    command: Sequence[str] = ("-m", "services.cli", "projector", "--part", "windows")

    def program(self) -> Any:
        program = super().program()
        return type(program)([sys.executable, *self.command], program.environment)


def a_count(lineage_id: str, count: int, **overrides: Any) -> WindowCount:
    """A counter of one node, of this hour."""
    values = {"node_id": "node", "kind": "validations", "hour": this_hour(), **overrides}
    return WindowCount(lineage_id=lineage_id, count=count, **values)


def highest(counters: Iterable[WindowCount]) -> Mapping[Counted, int]:
    """What a perfect reader knows."""
    known: dict[Counted, int] = {}
    for one in counters:
        counted = (one.lineage_id, one.hour, one.node_id)
        known[counted] = max(one.count, known.get(counted, 0))
    return known


def this_hour() -> int:
    return int(time.time() // 3600)
