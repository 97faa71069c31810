"""The worlds in which commands are tried."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from events.memory_log import MemoryLog
from services.api.commands import Issue
from services.api.validation.hashing import Hasher, bcrypt_hash
from services.api.verdict import Verdict
from tests.fakes import UnsteadyLog
from tests.unit.api.workers import ADMIN, SETTINGS, Worker, caught_up, eventually, verdicts

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Race:
    """Two nodes that meet at the log: both have decided what to append before either has appended it."""

    one: Worker
    two: Worker
    logs: tuple[UnsteadyLog, UnsteadyLog]
    log: MemoryLog

    async def a_key(self) -> Issue:
        issue = await self.one.commands.create(SETTINGS, ADMIN)
        await caught_up(self.two, self.log)
        return issue

    async def between(self, *attempts: Coroutine[Any, Any, object]) -> tuple[object, object]:
        """What comes of an attempt of each node: its result, or its error."""
        before = [log.attempts for log in self.logs]
        for log in self.logs:
            log.hold()
        tasks = [asyncio.create_task(attempt) for attempt in attempts]
        await eventually(lambda: all(log.attempts > at for log, at in zip(self.logs, before, strict=True)))
        for log in self.logs:
            log.let_through()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
        await caught_up(self.one, self.log)
        await caught_up(self.two, self.log)
        return first, second

    async def verdicts(self, *issues: Issue) -> list[Verdict]:
        """Those of both nodes, which must be the same."""
        assert await verdicts(self.one, *issues) == await verdicts(self.two, *issues)
        lineage_id = issues[0].key.lineage_id
        assert self.one.directory.lineage(lineage_id) == self.two.directory.lineage(lineage_id)
        return await verdicts(self.one, *issues)


class SlowHasher(Hasher):
    """Hashes when it may go on."""

    def __init__(self, rounds: int, patience_seconds: float = 5.0, threads: int | None = None) -> None:
        super().__init__(
            rounds, patience_seconds=patience_seconds, threads=threads, compute=self._compute_slowly
        )
        self.computed = 0
        self.is_waiting = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def _compute_slowly(self, key: bytes, rounds: int) -> str:
        self.is_waiting = True
        assert self.may_go_on.wait(10)
        self.is_waiting = False
        self.computed += 1
        return bcrypt_hash(key, rounds)
