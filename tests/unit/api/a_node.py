"""A node's follower over ports in memory, whose Kafka can be away, another one, or hold less than it did."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from events.errors import LogUnavailable
from events.keys import KeyCreated
from events.lineage import Lineage, issued_key
from events.log_identity import LogIdentity
from events.memory_log import MemoryLog
from services.api.directory.freshness import Freshness
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_store import KeyStore
from services.api.directory.store_writer import StoreWriter
from services.api.errors import ReadModelUnavailable
from services.api.metrics import COUNTERS as NUMBERS
from services.api.metrics import exposition
from services.api.node import Node
from services.api.node_folder import run_folder
from services.api.node_follower import NodeFollower
from services.api.ports import FollowerPorts
from services.api.settings import ApiSettings
from tests.builders import a_key_created
from tests.fakes import MEMORY_LOG, ManualTime, MemoryReadModels, UnsteadyLog, UnsteadyReader
from tests.pepper_fakes import PEPPERS
from tests.unit.api.running import ENVIRONMENT
from tests.unit.api.workers import append, eventually, made
from tests.window_fakes import COUNTERS, MemoryWindows

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SPAWN = multiprocessing.get_context("spawn")


class CountedReadModels(MemoryReadModels):
    """Counts how often a store was filled from them; their last batch can fail."""

    fills = 0
    breaks_off = False

    async def fill(self, writer: StoreWriter, log: LogIdentity = MEMORY_LOG) -> Mapping[int, int]:
        self.fills += 1
        positions = await super().fill(writer, log)
        if self.breaks_off:
            raise ReadModelUnavailable("the server closed the connection")
        return positions


@dataclass
class Running:
    """A follower at work. `store` and `directory` are those of its node."""

    follower: NodeFollower
    node: Node
    task: asyncio.Task[None]

    @property
    def store(self) -> KeyStore:
        assert self.follower.store is not None
        return self.follower.store

    @property
    def directory(self) -> KeyDirectory:
        return KeyDirectory(self.store)

    @property
    def freshness(self) -> Freshness:
        return self.follower.freshness


class NodeHarness:
    """What is around one node, in whose folder its followers run one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = made(folder)
        self.time = ManualTime(NOW)
        self.be_another_cluster("the cluster")
        self.environment: dict[str, str] = {}
        self.is_away = False
        self.asked = 0

    def be_another_cluster(self, cluster_id: str) -> None:
        """A broker that has nothing of what the one before had."""
        self.cluster_id = cluster_id
        self.log = MemoryLog(seconds=self.time.wall)

    @asynccontextmanager
    async def follower(self, *, may_fill: bool = True) -> AsyncIterator[Running]:
        """It has begun to start. Its work, and what keeps it from starting, ends in `task`."""
        settings = ApiSettings.from_environment({**ENVIRONMENT, **self.environment})
        self.read_models = CountedReadModels(
            self.log, settings.lifecycle, LogIdentity(self.cluster_id, settings.lifecycle.name)
        )
        self.appends = UnsteadyLog(self.log)
        self.reader = UnsteadyReader(self.log.reader(settings.lifecycle))
        run_folder(self.folder).mkdir(exist_ok=True)
        node = Node(run_folder(self.folder), NUMBERS)
        follower = NodeFollower(
            settings,
            self.folder,
            self._ports(settings),
            self.time.clock(),
            node,
            self.time.boottime,
            may_fill=may_fill,
        )
        if may_fill:  # its node has just been started
            follower.freshness.begin()
        task = asyncio.create_task(self._run(follower))
        try:
            yield Running(follower, node, task)
        finally:
            task.cancel()
            await asyncio.wait([task])

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Running]:
        """The follower once workers may answer and it follows the log."""
        async with self.follower() as running:
            await eventually(lambda: running.task.done() or self._follows(running))
            if running.task.done():
                running.task.result()
            yield running

    def metric(self, running: Running, name: str) -> float:
        text = exposition(running.node, running.freshness, self.time.clock()).decode()
        (line,) = [line for line in text.splitlines() if line.startswith(f"hokusai_api_{name} ")]
        return float(line.split()[1])

    def _follows(self, running: Running) -> bool:
        return running.follower.store is not None and running.freshness.is_ready

    async def _run(self, follower: NodeFollower) -> None:
        async with follower.started() as following:
            await following()

    def _ports(self, settings: ApiSettings) -> FollowerPorts:
        return FollowerPorts(
            self.appends,
            self.reader,
            UnsteadyReader(self.log.reader(COUNTERS)),
            lambda: nullcontext(self.log.reader(PEPPERS)),
            self._check_log,
            self.read_models,
            MemoryWindows(self.log),
            nullcontext,
            self._connected,
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        self.asked += 1
        if self.is_away:
            raise LogUnavailable("no broker answers")
        yield

    async def _check_log(self, known: LogIdentity | None) -> LogIdentity:
        if self.is_away:
            raise LogUnavailable("no broker answers")
        return known or LogIdentity(self.cluster_id, "keys.lifecycle")


#: In the store of the node, and in no log: it shows whether the store was believed.
MARKER = a_key_created()


async def filled(node: NodeHarness) -> KeyCreated:
    """The node has run and was stopped; its store holds the marker since. The key of its log."""
    created = a_key_created(pepper_id="p1")
    await append(node.log, created)
    async with node.started() as running:
        assert created.data.key_id in running.directory
    store = KeyStore(node.folder, readonly=False)
    key = issued_key(MARKER.data, MARKER.time)
    StoreWriter(store, frozenset()).put(Lineage(key.lineage_id, 1, (key,)))
    store.close()
    return created


def is_believed(running: Running) -> bool:
    return MARKER.data.key_id in running.directory


def active_until(running: Running, created: KeyCreated) -> float:
    facts = running.directory.facts(created.data.key_id)
    assert facts is not None
    return facts.active_until


def active_until_in_a_worker(folder: Path, key_id: str) -> float | None:
    """What another process of the node reads of a key while its follower has the store open."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_read, args=(folder, key_id, theirs))
    process.start()
    found: float | None = ours.recv() if ours.poll(20) else None
    process.join(20)
    return found


def _read(folder: Path, key_id: str, answer: Connection) -> None:
    facts = KeyDirectory(KeyStore(folder, readonly=True)).facts(key_id)
    answer.send(None if facts is None else facts.active_until)
