"""A worker of the api over a log in memory: every part but HTTP, following the log while it is open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from events.clock import Clock
from events.codec import encode
from events.errors import LogUnavailable
from events.keys import KeyEvent
from events.lifecycle import read_event
from events.lineage import KeySettings
from events.log import EventLog, LogReader
from events.memory_log import MemoryLog
from events.topics import Topic, Topics
from services.api.commands import Issue, KeyCommands, Requester
from services.api.directory.freshness import Freshness
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_facts import KeyFacts
from services.api.directory.key_store import KeyStore
from services.api.directory.lifecycle_follower import LifecycleFollower
from services.api.directory.store_writer import StoreWriter
from services.api.limits.due import DueSignal
from services.api.limits.rate_limits import RateLimits
from services.api.limits.window_tables import WindowTables
from services.api.metrics import COUNTERS, Metrics, exposition
from services.api.node import Node
from services.api.node_folder import limits_folder
from services.api.validation.bcrypt_fallback import BcryptFallback
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, Pepper
from services.api.validation.known_peppers import KnownPeppers
from services.api.validator import KeyValidator, Question
from services.api.verdict import Verdict
from tests.fakes import ManualTime

TOPIC: Topic = Topics.from_environment({}).lifecycle
PEPPER = Pepper("2026", "a pepper of thirty-two characters")
ADMIN = Requester("admin", "request-1")
NOTHING_MORE = Question()

NO_GRACE = timedelta()
ONE_DAY = timedelta(days=1)
PATIENCE_SECONDS = 5.0

SETTINGS = KeySettings(
    name="nightly training",
    user_id="admin",
    service_id="platform",
    environment="production",
    scopes=(),
    allowed_ips=(),
    rate_limit_per_hour=1000,
    monthly_prediction_limit=None,
    billing_plan="free",
    lifetime_days=None,
)


@dataclass(frozen=True, slots=True)
class Worker:
    """The parts of a worker and of its node's follower; `validate` is what a request comes to."""

    store: KeyStore
    writer: StoreWriter
    directory: KeyDirectory
    freshness: Freshness
    fingerprints: Fingerprints
    node: Node
    metrics: Metrics
    hasher: Hasher
    follower: LifecycleFollower
    commands: KeyCommands
    validator: KeyValidator
    clock: Clock
    due: DueSignal
    tables: WindowTables

    def close(self) -> None:
        """Give back what it holds, but for the store."""
        self.hasher.close()
        self.due.close()
        self.tables.close()

    @property
    def applied(self) -> Mapping[int, int]:
        return self.directory.positions()

    async def validate(self, secret: str | bytes, question: Question = NOTHING_MORE) -> Verdict:
        presented = secret.encode() if isinstance(secret, str) else secret
        known = self.validator.find(presented) or await self.validator.find_by_bcrypt(presented)
        if known is None:
            return Verdict.UNKNOWN
        return judge(self.validator, known, question, self.clock.seconds())

    def exposition(self) -> bytes:
        return exposition(self.node, self.freshness, self.clock)


class LocalFollower:
    """What bcrypt asks and tells the follower of the node, in the same process."""

    def __init__(self, writer: StoreWriter, pepper_id: str, peppers: KnownPeppers | None = None) -> None:
        """Without `peppers` every one is known."""
        self._writer = writer
        self._pepper_id = pepper_id
        self._peppers = peppers

    async def is_pepper_known(self, pepper_id: str) -> bool | None:
        if self._peppers is None:
            return True
        try:
            return await self._peppers.include(pepper_id)
        except LogUnavailable:
            return None

    async def learn(self, key_id: str, fingerprint: bytes) -> bool | None:
        self._writer.learn(key_id, fingerprint, self._pepper_id)
        return True


def judge(validator: KeyValidator, known: KeyFacts, question: Question, now_seconds: float) -> Verdict:
    """All that is asked of a key that was found, as the route asks it."""
    verdict = validator.judge_key(known, now_seconds)
    return validator.judge_question(known, question, now_seconds) if verdict is Verdict.VALID else verdict


def known_key(directory: KeyDirectory, key_id: str) -> KeyFacts:
    """The key as validation finds it."""
    facts = directory.facts(key_id)
    assert facts is not None
    return facts


#: By folder. LMDB lets a process open a store once, and a test may stop a node and start it again.
_OPEN_STORES: dict[Path, KeyStore] = {}


def store_in(folder: Path) -> KeyStore:
    """The store of the node in that folder, open for writing until the test ends."""
    if folder not in _OPEN_STORES:
        _OPEN_STORES[folder] = KeyStore(made(folder), readonly=False)
    return _OPEN_STORES[folder]


def close_stores() -> None:
    """At the end of every test."""
    while _OPEN_STORES:
        _OPEN_STORES.popitem()[1].close()


def build(
    folder: Path,
    reader: LogReader,
    log: EventLog,
    time: ManualTime | None = None,
    peppers: Sequence[Pepper] = (PEPPER,),
    hasher: Hasher | None = None,
) -> Worker:
    """A worker of a node of its own, and the node's follower; nothing runs yet."""
    time = time or ManualTime(datetime.now(UTC))
    clock, metrics, store = time.clock(), Metrics(), store_in(folder)
    writer = StoreWriter(store, Fingerprints(peppers).known_ids)
    freshness = Freshness(folder, time.boottime)
    freshness.begin()
    follower = LifecycleFollower(reader, store, writer, freshness, metrics, clock, time.boottime)
    return _worker(folder, log, peppers, hasher, writer, freshness, follower, metrics, clock)


def a_sibling(worker: Worker, folder: Path, log: EventLog, peppers: Sequence[Pepper] = (PEPPER,)) -> Worker:
    """Another worker of the same node: it has the same store, follower and clock."""
    return _worker(
        folder,
        log,
        peppers,
        None,
        worker.writer,
        worker.freshness,
        worker.follower,
        Metrics(),
        worker.clock,
    )


def _worker(
    folder: Path,
    log: EventLog,
    peppers: Sequence[Pepper],
    hasher: Hasher | None,
    writer: StoreWriter,
    freshness: Freshness,
    follower: LifecycleFollower,
    metrics: Metrics,
    clock: Clock,
) -> Worker:
    """The parts, put together as `services.api.app` does."""
    hasher, fingerprints = hasher or Hasher(4), Fingerprints(peppers)
    store = store_in(folder)
    directory = KeyDirectory(store)
    commands = KeyCommands(
        log, TOPIC.name, directory, hasher, fingerprints, clock, metrics, "urn:hokusai:test"
    )
    local = LocalFollower(writer, fingerprints.newest_id)
    bcrypt_fallback = BcryptFallback(directory, fingerprints, local, hasher, clock, metrics)
    tables, due = WindowTables(limits_folder(folder)), DueSignal(limits_folder(folder))
    validator = KeyValidator(directory, fingerprints, bcrypt_fallback, RateLimits(tables, due))
    return Worker(
        store=store,
        writer=writer,
        directory=directory,
        freshness=freshness,
        fingerprints=fingerprints,
        node=Node(folder, COUNTERS),
        metrics=metrics,
        hasher=hasher,
        follower=follower,
        commands=commands,
        validator=validator,
        clock=clock,
        due=due,
        tables=tables,
    )


def made(folder: Path) -> Path:
    """The folder of a node, whichever of its workers comes first."""
    folder.mkdir(exist_ok=True)
    return folder


@asynccontextmanager
async def following(worker: Worker, positions: Mapping[int, int] | None = None) -> AsyncIterator[Worker]:
    """The worker at work, from the positions of its snapshot on or from the beginning of the log."""
    if positions is not None:
        worker.writer.set_positions(positions)
    worker.metrics.sit(worker.node.enter())
    await worker.follower.start()
    task = asyncio.create_task(worker.follower.run())
    try:
        yield worker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        worker.node.leave()
        worker.close()


@asynccontextmanager
async def a_worker(
    log: MemoryLog,
    folder: Path,
    time: ManualTime | None = None,
    peppers: Sequence[Pepper] = (PEPPER,),
    through: EventLog | None = None,
) -> AsyncIterator[Worker]:
    """A worker that follows the log, and appends to it directly or through another one."""
    async with following(build(folder, log.reader(TOPIC), through or log, time, peppers)) as worker:
        yield worker


async def append(log: EventLog, *events: KeyEvent) -> None:
    """Append the events, as another node would."""
    for event in events:
        await log.append(TOPIC.name, event.partitionkey.encode(), encode(event))


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once the condition holds, which must be soon."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


async def caught_up(worker: Worker, log: MemoryLog) -> None:
    """Return once the worker has applied all that is in the log."""
    ends = await log.reader(TOPIC).end_offsets()
    await eventually(lambda: dict(worker.applied) == dict(ends))


async def events_in(log: MemoryLog) -> list[KeyEvent]:
    """All events of the topic, in the order of each lineage."""
    reader = log.reader(TOPIC)
    await reader.begin({})
    return [read_event(record) for record in await reader.read(timeout_seconds=0)]


async def verdicts(worker: Worker, *issues: Issue) -> list[Verdict]:
    """What the worker says of each key."""
    return [await worker.validate(issue.secret) for issue in issues]


def sequence(worker: Worker, issue: Issue) -> int:
    """That of the last event that the worker has applied to the key's lineage."""
    lineage = worker.directory.lineage(issue.key.lineage_id)
    return lineage.sequence if lineage else 0
