"""The whole api in this process: the application of `services.api.app` over a log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.log import PlainRecord
from events.log_identity import LogIdentity
from events.memory_log import MemoryLog
from events.topics import Topic
from services.api.app import assemble
from services.api.http.tracing import Traces
from services.api.ports import CheckLog, Ports
from services.api.settings import ApiSettings
from services.api.state import State
from tests.fakes import MEMORY_LOG, ManualTime, MemoryReadModels, UnsteadyLog, UnsteadyReader
from tests.pepper_fakes import PEPPERS
from tests.unit.api.workers import TOPIC, eventually, made
from tests.usage_fakes import MemoryUsageReadModels
from tests.window_fakes import COUNTERS, MemoryWindows

ADMIN_TOKEN = "an-admin-token-0123456789"
ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "memory:9092",
    "DATABASE_URL": "dbname=memory",
    "ADMIN_TOKEN": ADMIN_TOKEN,
    "KEY_PEPPERS": "2026:a pepper of thirty-two characters",
    "BCRYPT_ROUNDS": "4",
}
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
PEER = "203.0.113.7"


@dataclass
class Surroundings:
    """What a test holds of a running api: the world around it, and clients for it."""

    log: MemoryLog
    appends: UnsteadyLog
    reader: UnsteadyReader
    counters: UnsteadyReader
    read_models: MemoryReadModels
    windows: MemoryWindows
    time: ManualTime
    state: State
    app: ASGIApp = field(repr=False)
    #: What answers on the port of operations, where there is one.
    operations: ASGIApp | None = field(repr=False)

    def client(self, *, admin: bool = True, peer: str = PEER) -> httpx.AsyncClient:
        """Somebody at that address, with the admin token or without."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} if admin else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(peer, 40000))
        return httpx.AsyncClient(transport=transport, base_url="http://auth.test", headers=headers)

    async def records(self, topic: Topic) -> Sequence[PlainRecord]:
        """All that is in a topic."""
        reader = self.log.reader(topic)
        await reader.begin({})
        return await reader.read(timeout_seconds=0)

    async def caught_up(self) -> None:
        """Return once the api has applied all that is in the log."""
        ends = dict(await self.log.reader(TOPIC).end_offsets())
        await eventually(lambda: self.state.follower.applied == ends)


@asynccontextmanager
async def running(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    log: MemoryLog | None = None,
    read_models: MemoryReadModels | None = None,
    check_log: CheckLog | None = None,
    time: ManualTime | None = None,
    windows: MemoryWindows | None = None,
    *,
    is_stale: bool = False,
    traces: Traces | None = None,
) -> AsyncIterator[Surroundings]:
    """An api that has started, and stops at the end. Raises what keeps it from starting.

    `is_stale`: it counts as out of touch with the log the moment it has started.
    """
    time = time or ManualTime(NOW)
    log = log or MemoryLog(seconds=time.wall)
    appends, reader = UnsteadyLog(log), UnsteadyReader(log.reader(TOPIC))
    counters = UnsteadyReader(log.reader(COUNTERS))
    read_models = read_models or MemoryReadModels(log, TOPIC)
    windows = windows or MemoryWindows(log)
    settings = ApiSettings.from_environment({**ENVIRONMENT, **(environment or {})})
    if is_stale:
        settings = settings.model_copy(update={"max_staleness_seconds": 1e-6})
    ports = Ports(
        appends,
        reader,
        read_models,
        check_log or _our_log,
        nullcontext,
        counters=counters,
        windows=windows,
        usage_read_models=MemoryUsageReadModels(log, settings),
        peppers=lambda: nullcontext(log.reader(PEPPERS)),
    )
    beside: list[ASGIApp] = []

    async def serve_operations(operations: ASGIApp) -> None:
        beside.append(operations)
        await asyncio.Event().wait()

    serve = None if settings.operations_port is None else serve_operations
    app = assemble(settings, made(folder), ports, time.clock(), serve, traces=traces)
    async with _lifespan(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state)}, receive, send)

        yield Surroundings(
            log,
            appends,
            reader,
            counters,
            read_models,
            windows,
            time,
            state["hokusai"],
            with_state,
            beside[0] if beside else None,
        )


async def _our_log(known: LogIdentity | None) -> LogIdentity:
    return known or MEMORY_LOG


@asynccontextmanager
async def _lifespan(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Starts and stops the application as a server does, and yields what it keeps for its requests."""
    state: dict[str, Any] = {}
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    if (await asyncio.wait_for(from_app.get(), 10))["type"] != "lifespan.startup.complete":
        await task
    try:
        yield state
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(task, 10)
