"""Stand-ins at the ports: time that moves when told, a log that fails when told, read models in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from events.clock import Clock
from events.clock_offset import ClockOffset
from events.errors import LogUnavailable
from events.lifecycle import fold
from events.lineage import Key, Lineage
from events.log import LogReader, Mark, Position, Record
from events.log_identity import LogIdentity
from events.memory_log import MemoryLog
from events.topics import Topic
from services.api.directory.store_writer import SnapshotKey, StoreWriter
from services.api.directory.stored_facts import encode_key
from services.api.errors import ReadModelUnavailable
from services.api.read_models import KeyPage, KnownMarks, Page
from services.api.schemas import ApiKeyInfo

#: What the log in memory is called.
MEMORY_LOG = LogIdentity("memory", "keys.lifecycle")


class ManualTime:
    """Time that only moves when told; the wall clock can be set, the time since boot can't."""

    def __init__(self, now: datetime) -> None:
        self._wall_seconds = now.timestamp()
        self._boottime_seconds = 1000.0

    def wall(self) -> float:
        return self._wall_seconds

    def boottime(self) -> float:
        return self._boottime_seconds

    def clock(self, offset: ClockOffset | None = None) -> Clock:
        """The clock of a process that starts now; those with one offset are workers of one node."""
        return Clock(self.wall, self.boottime, offset)

    def pass_by(self, seconds: float) -> None:
        self._wall_seconds += seconds
        self._boottime_seconds += seconds

    def step_wall(self, seconds: float) -> None:
        """Somebody sets the system clock."""
        self._wall_seconds += seconds


class UnsteadyLog:
    """An `EventLog` over another one, that can be away, lose its answers, or hold records back."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.is_away = False
        self.loses_answers = False
        self.attempts = 0
        self._lets_through = asyncio.Event()
        self._lets_through.set()

    def hold(self) -> None:
        """What is appended from now on waits on its way."""
        self._lets_through.clear()

    def let_through(self) -> None:
        self._lets_through.set()

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        self.attempts += 1
        if self.is_away:
            raise LogUnavailable(f"{topic}: not acknowledged")
        await self._lets_through.wait()
        position = await self._log.append(topic, key, value, headers)
        if self.loses_answers:
            raise LogUnavailable(f"{topic}: not acknowledged")
        return position


class UnsteadyReader:
    """A `LogReader` over another one, that can be silent: nothing to read, and no answer where it ends."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self.unanswered = 0
        self._speaks = asyncio.Event()
        self._speaks.set()

    def fall_silent(self) -> None:
        self._speaks.clear()

    def speak(self) -> None:
        self._speaks.set()

    async def begin(self, positions: Mapping[int, int]) -> None:
        await self._reader.begin(positions)

    async def read(self, max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        await self._speaks.wait()
        return await self._reader.read(max_records, timeout_seconds)

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        if not self._speaks.is_set():
            self.unanswered += 1
            raise LogUnavailable("offsets not known")
        return await self._reader.end_offsets(timeout_seconds)

    async def offsets_at(self, milliseconds: int) -> Mapping[int, int]:
        return await self._reader.offsets_at(milliseconds)

    async def lost(self, marks: Collection[Mark]) -> Sequence[Mark]:
        return await self._reader.lost(marks)

    def positions(self) -> Mapping[int, int]:
        return self._reader.positions()


class MemoryReadModels:
    """The api's `ReadModels`, folded anew from the log at every question. It can be away, or lag behind."""

    def __init__(
        self,
        log: MemoryLog,
        topic: Topic,
        known: LogIdentity | None = MEMORY_LOG,
    ) -> None:
        self._log = log
        self._topic = topic
        self._known_log = known
        self.is_away = False
        self.is_behind = False
        self.marks = KnownMarks()
        self.pages_asked = 0

    async def is_reachable(self) -> bool:
        return not self.is_away

    async def known_log(self) -> LogIdentity | None:
        self._answer()
        return self._known_log

    async def known_marks(self) -> KnownMarks:
        self._answer()
        return self.marks

    async def fill(self, writer: StoreWriter, log: LogIdentity = MEMORY_LOG) -> Mapping[int, int]:
        self._answer()
        if self._known_log not in (None, log):
            raise ReadModelUnavailable("The read model is of another log")
        lineages, positions = await self._fold()
        for lineage in lineages.values():
            writer.load(snapshot_keys(lineage))
            if not lineage.keys:
                writer.put(lineage)
        return positions

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
        found = sorted(
            (key.created_at, key.key_id, info, key)
            for key, info in await self._infos(passed, now)
            if services is None or info.service_id in services
        )
        listed = [
            (Page(created_at, key_id), info.model_dump_json().encode())
            for created_at, key_id, info, key in found
            if (page is None or (created_at, key_id) > (page.after_time, page.after_key))
            and (not active_only or (info.is_active and not key.is_expired(now)))
        ]
        self.pages_asked += 1
        following = listed[limit - 1][0] if len(listed) > limit else None
        return KeyPage(b",".join(shown for _, shown in listed[:limit]), following)

    async def get_key(self, key_id: str, passed: Mapping[int, int], now: datetime) -> ApiKeyInfo | None:
        infos = await self._infos(passed, now)
        return next((info for key, info in infos if key.key_id == key_id), None)

    async def _infos(self, passed: Mapping[int, int], now: datetime) -> list[tuple[Key, ApiKeyInfo]]:
        self._answer()
        lineages, positions = await self._fold()
        if self.is_behind or any(positions[partition] < offset for partition, offset in passed.items()):
            raise ReadModelUnavailable("The read model is behind the log, try again")
        return [(key, _info(key, lineage, now)) for lineage in lineages.values() for key in lineage.keys]

    async def _fold(self) -> tuple[dict[str, Lineage], Mapping[int, int]]:
        reader = self._log.reader(self._topic)
        await reader.begin({})
        lineages: dict[str, Lineage] = {}
        for record in await reader.read(1_000_000, timeout_seconds=0):
            if (lineage := fold(record, lineages.get).lineage) is not None:
                lineages[lineage.lineage_id] = lineage
        return lineages, reader.positions()

    def _answer(self) -> None:
        if self.is_away:
            raise ReadModelUnavailable("The read model is not available, try again")


def snapshot_keys(lineage: Lineage) -> list[SnapshotKey]:
    """The lineage as a snapshot of the read models has it, its keys oldest first."""
    return [
        SnapshotKey(
            key.key_id,
            key.lineage_id,
            lineage.sequence,
            lineage.parked,
            key is lineage.keys[-1],
            None if key.revoked_at is None else round(key.revoked_at.timestamp() * 1_000_000),
            key.key_prefix,
            key.fingerprint,
            key.pepper_id,
            encode_key(key, is_parked=lineage.parked is not None, is_conflicting=False),
        )
        for key in lineage.keys
    ]


def _info(key: Key, lineage: Lineage, now: datetime) -> ApiKeyInfo:
    info = ApiKeyInfo.of(key, now)
    return info if lineage.parked is None else info.model_copy(update={"is_active": False})
