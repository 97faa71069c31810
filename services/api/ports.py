"""Where a worker, and the follower of its node, meet the world: the log, and the read models."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import EventLog, LogReader
from events.log_identity import LogIdentity, check_log
from services.api.directory.store_writer import StoreWriter
from services.api.read_models import KeyPage, KnownMarks, Page, PostgresReadModels
from services.api.schemas import ApiKeyInfo
from services.api.settings import ApiSettings
from services.api.usage_read_models import Charges, DayOfUse, MonthOfUse, PostgresUsageReadModels
from services.api.windows_snapshot import PostgresWindows, WindowsSnapshot

CheckLog = Callable[[LogIdentity | None], Awaitable[LogIdentity]]


OpenReader = Callable[[], AbstractAsyncContextManager[LogReader]]
OpenAll = Callable[[], AbstractAsyncContextManager[None]]


class SnapshotReadModels(Protocol):
    """What the follower asks of the read models. All of it raises `ReadModelUnavailable`."""

    async def known_log(self) -> LogIdentity | None:
        """The log that the read models were built from, or None where nothing was built yet."""
        ...

    async def known_marks(self) -> KnownMarks:
        """What the projector knows of what stood in the topic, and of what the log has lost of it."""
        ...

    async def fill(self, writer: StoreWriter, log: LogIdentity) -> Mapping[int, int]:
        """Put every lineage into an empty store; the positions that they stand at.

        The store holds a part of them when this fails, also where the read models are of another log.
        """
        ...


class ReadModels(Protocol):
    """What the projector has made of the log. All but `is_reachable` raise `ReadModelUnavailable`."""

    async def is_reachable(self) -> bool:
        """Whether questions are answered now."""
        ...

    async def list_keys(
        self,
        passed: Mapping[int, int],
        now: datetime,
        *,
        services: Sequence[str] | None,
        active_only: bool,
        page: Page | None,
        limit: int,
    ) -> KeyPage:
        """As many keys, oldest first, once the projection has passed these offsets."""
        ...

    async def get_key(self, key_id: str, passed: Mapping[int, int], now: datetime) -> ApiKeyInfo | None:
        """One key, once the projection has passed these offsets."""
        ...


class Windows(Protocol):
    """What was made of `ratelimit.counters`."""

    async def snapshot(self, hour: int) -> WindowsSnapshot:
        """The windows of that hour (whole hours since 1970). Raises `ReadModelUnavailable`."""
        ...


class UsageReadModels(Protocol):
    """What was made of use. Every one raises `ReadModelUnavailable`, also while a picture is not whole."""

    async def month(self, lineage_id: str, month: date) -> MonthOfUse:
        """What a lineage used in the month that begins then."""
        ...

    async def charges(self, lineage_id: str, month: date) -> Charges:
        """What billing counts for a lineage in the month that begins then."""
        ...

    async def days(self, first: date, last: date, services: Sequence[str] | None) -> list[DayOfUse]:
        """The days of that span, both ends included, by day and service; of these services (None: of all)."""
        ...

    async def content(self, key_id: str, event_id: str, now: datetime) -> int | None:
        """What the use with this id states (`content_of`), if one is known that a report of now would repeat.

        Asked for every report that names its id, so it takes a quarter of a second at most.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What a worker works with. Nothing may be used before `opened` is entered, which closes all.

    It waits for nobody: what is away is told when it is asked.
    """

    log: EventLog
    read_models: ReadModels
    usage_read_models: UsageReadModels
    opened: OpenAll


@dataclass(frozen=True, slots=True)
class FollowerPorts:
    """What the follower works with. `opened` is entered first, then `connected`, which raises
    `LogUnavailable`; the readers may be used within.

    `reader` reads `keys.lifecycle`, `counters` reads `ratelimit.counters`. `peppers` opens a reader of
    `keys.peppers`: it is read now and then, and not followed. `check_log` raises `WrongLog` unless the log is
    the given one (None: any).
    """

    log: EventLog
    reader: LogReader
    counters: LogReader
    peppers: OpenReader
    check_log: CheckLog
    read_models: SnapshotReadModels
    windows: Windows
    opened: OpenAll
    connected: OpenAll


def worker_ports(settings: ApiSettings) -> Ports:
    """The real ones, still closed."""
    log = KafkaEventLog(settings, is_patient=True)
    read_models = PostgresReadModels(settings.database_url, settings.lifecycle.name)
    return Ports(
        log,
        read_models,
        PostgresUsageReadModels(read_models, settings),
        functools.partial(_opened, log, read_models),
    )


def follower_ports(settings: ApiSettings) -> FollowerPorts:
    """The real ones, still closed."""
    log = KafkaEventLog(settings, is_patient=True)
    read_models = PostgresReadModels(settings.database_url, settings.lifecycle.name)
    reader = KafkaLogReader(settings, settings.lifecycle)
    counters = KafkaLogReader(settings, settings.rate_counters)
    return FollowerPorts(
        log,
        reader,
        counters,
        lambda: KafkaLogReader(settings, settings.peppers),
        functools.partial(check_log, settings, settings),
        read_models,
        PostgresWindows(read_models, settings.rate_counters.name),
        functools.partial(_opened, log, read_models),
        functools.partial(_connected, reader, counters),
    )


@asynccontextmanager
async def _opened(log: KafkaEventLog, read_models: PostgresReadModels) -> AsyncIterator[None]:
    await read_models.open()
    try:
        async with log:
            yield
    finally:
        await read_models.close()


@asynccontextmanager
async def _connected(*readers: KafkaLogReader) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for reader in readers:
            await stack.enter_async_context(reader)
        yield
