"""Where a worker meets the world: the log, and the read models."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log import EventLog, LogReader
from events.log_identity import LogIdentity, check_log
from events.waiting import wait_for
from services.api.directory import KeyDirectory
from services.api.read_models import KeyPage, KnownMarks, Page, PostgresReadModels
from services.api.schemas import ApiKeyInfo
from services.api.settings import ApiSettings
from services.api.usage_read_models import Charges, DayOfUse, MonthOfUse, PostgresUsageReadModels
from services.api.windows_snapshot import PostgresWindows, WindowsSnapshot

CheckLog = Callable[[LogIdentity | None], Awaitable[LogIdentity]]


OpenReader = Callable[[], AbstractAsyncContextManager[LogReader]]


class ReadModels(Protocol):
    """What the projector has made of the log. All but `is_reachable` raise `ReadModelUnavailable`."""

    async def is_reachable(self) -> bool:
        """Whether questions are answered now."""
        ...

    async def known_log(self) -> LogIdentity | None:
        """The log that the read models were built from, or None where nothing was built yet."""
        ...

    async def known_marks(self) -> KnownMarks:
        """What the projector knows of what stood in the topic, and of what the log has lost of it."""
        ...

    async def fill(self, directory: KeyDirectory) -> Mapping[int, int]:
        """Put every lineage into an empty directory; the positions that they stand at.

        The directory holds a part of them when this fails.
        """
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
    """`reader` reads `keys.lifecycle`, `counters` reads `ratelimit.counters`.

    `peppers` opens a reader of `keys.peppers`: it is read now and then, and not followed.

    `check_log` raises `WrongLog` unless the log is the given one (None: any).

    Nothing else may be used before `opened` is entered; it waits for a log that is away, and closes all.
    """

    log: EventLog
    reader: LogReader
    read_models: ReadModels
    check_log: CheckLog
    opened: Callable[[], AbstractAsyncContextManager[None]]
    counters: LogReader
    windows: Windows
    usage_read_models: UsageReadModels
    peppers: OpenReader


def kafka_and_postgres(settings: ApiSettings) -> Ports:
    """The real ones, still closed."""
    log = KafkaEventLog(settings)
    reader = KafkaLogReader(settings, settings.lifecycle)
    counters = KafkaLogReader(settings, settings.rate_counters)
    read_models = PostgresReadModels(settings.database_url, settings.lifecycle.name)

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        kafka = f"Kafka at {settings.bootstrap_servers}"
        async with AsyncExitStack() as stack:
            await read_models.open()
            stack.push_async_callback(read_models.close)
            await wait_for(kafka, lambda: stack.enter_async_context(reader), (LogUnavailable,))
            await wait_for(kafka, lambda: stack.enter_async_context(counters), (LogUnavailable,))
            await wait_for(kafka, lambda: stack.enter_async_context(log), (LogUnavailable,))
            yield

    return Ports(
        log,
        reader,
        read_models,
        functools.partial(check_log, settings, settings),
        opened,
        counters,
        PostgresWindows(read_models, settings.rate_counters.name),
        PostgresUsageReadModels(read_models, settings),
        lambda: KafkaLogReader(settings, settings.peppers),
    )
