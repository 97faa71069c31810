"""The whole api in this process: the application of `services.api.app` over a log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
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
from services.api.metrics import COUNTERS as NUMBERS
from services.api.metrics import exposition
from services.api.node import Node
from services.api.node_folder import run_folder
from services.api.node_follower import NodeFollower
from services.api.ports import CheckLog, FollowerPorts, Ports
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
    follower: NodeFollower = field(repr=False)
    #: The follower at work.
    following: asyncio.Task[None] = field(repr=False)
    node: Node = field(repr=False)
    app: ASGIApp = field(repr=False)
    #: What answers on the port of operations, where there is one.
    operations: ASGIApp | None = field(repr=False)
    worker: Callable[[], AbstractAsyncContextManager[tuple[State, ASGIApp]]] = field(repr=False)

    def client(self, *, admin: bool = True, peer: str = PEER) -> httpx.AsyncClient:
        """Somebody at that address, with the admin token or without."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} if admin else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(peer, 40000))
        return httpx.AsyncClient(transport=transport, base_url="http://auth.test", headers=headers)

    def exposition(self) -> bytes:
        """The metrics of the node."""
        return exposition(self.node, self.follower.freshness, self.time.clock())

    def metric(self, name: str) -> float:
        lines = self.exposition().decode().splitlines()
        (line,) = [line for line in lines if line.startswith(f"hokusai_api_{name} ")]
        return float(line.split()[1])

    @asynccontextmanager
    async def another_worker(self) -> AsyncIterator[Surroundings]:
        """The same node from another one of its workers."""
        async with self.worker() as (state, app):
            yield replace(self, state=state, app=app)

    async def records(self, topic: Topic) -> Sequence[PlainRecord]:
        """All that is in a topic."""
        reader = self.log.reader(topic)
        await reader.begin({})
        return await reader.read(timeout_seconds=0)

    async def caught_up(self) -> None:
        """Return once the api has applied all that is in the log."""
        ends = dict(await self.log.reader(TOPIC).end_offsets())
        await eventually(lambda: self.state.directory.positions() == ends)


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
    ports = Ports(appends, read_models, MemoryUsageReadModels(log, settings), nullcontext)
    follower_ports = FollowerPorts(
        appends,
        reader,
        counters,
        lambda: nullcontext(log.reader(PEPPERS)),
        check_log or _our_log,
        read_models,
        windows,
        nullcontext,
        nullcontext,
    )
    beside: list[ASGIApp] = []

    async def serve_operations(operations: ASGIApp) -> None:
        beside.append(operations)
        await asyncio.Event().wait()

    serve = None if settings.operations_port is None else serve_operations
    clock = time.clock()
    run_folder(made(folder)).mkdir(exist_ok=True)
    node = Node(run_folder(folder), NUMBERS)
    follower = NodeFollower(settings, folder, follower_ports, clock, node)
    follower.freshness.begin()

    @asynccontextmanager
    async def worker() -> AsyncIterator[tuple[State, ASGIApp]]:
        assert follower.store is not None
        app = assemble(settings, folder, follower.store, ports, clock, serve_operations=serve, traces=traces)
        async with _lifespan(app) as state:

            async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state)}, receive, send)

            yield state["hokusai"], with_state

    async with (
        follower.started() as follow,
        _running(follow) as following,
        worker() as (state, app),
    ):
        yield Surroundings(
            log=log,
            appends=appends,
            reader=reader,
            counters=counters,
            read_models=read_models,
            windows=windows,
            time=time,
            state=state,
            follower=follower,
            following=following,
            node=node,
            app=app,
            operations=beside[0] if beside else None,
            worker=worker,
        )


@asynccontextmanager
async def _running(follow: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Task[None]]:
    """The follower's work beside that of the worker; what ends it is raised at the end."""
    task = asyncio.create_task(follow())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


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
