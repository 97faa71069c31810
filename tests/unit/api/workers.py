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
from events.keys import KeyEvent
from events.lifecycle import read_event
from events.lineage import KeySettings
from events.log import EventLog, LogReader
from events.memory_log import MemoryLog
from events.topics import Topic, Topics
from services.api.commands import Issue, KeyCommands, Requester
from services.api.directory import KeyDirectory
from services.api.follower import Follower
from services.api.known_key import KnownKey
from services.api.metrics import COUNTERS, Metrics
from services.api.node import Node
from services.api.validation.bcrypt_fallback import BcryptFallback
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, Pepper
from services.api.validator import KeyValidator, Question
from services.api.verdict import Verdict
from tests.fakes import ManualTime
from tests.pepper_fakes import known_peppers
from tests.window_fakes import a_view_of_windows

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
    """The parts of a worker; `validate` is what a request for validation comes to."""

    directory: KeyDirectory
    fingerprints: Fingerprints
    node: Node
    metrics: Metrics
    hasher: Hasher
    follower: Follower
    commands: KeyCommands
    validator: KeyValidator
    clock: Clock

    async def validate(self, secret: str | bytes, question: Question = NOTHING_MORE) -> Verdict:
        presented = secret.encode() if isinstance(secret, str) else secret
        known = self.validator.find(presented) or await self.validator.find_by_bcrypt(presented)
        if known is None:
            return Verdict.UNKNOWN
        return judge(self.validator, known, question, self.clock.seconds())


def judge(validator: KeyValidator, known: KnownKey, question: Question, now_seconds: float) -> Verdict:
    """All that is asked of a key that was found, as the route asks it."""
    verdict = validator.judge_key(known, now_seconds)
    return validator.judge_question(known, question, now_seconds) if verdict is Verdict.VALID else verdict


def known_key(directory: KeyDirectory, key_id: str) -> KnownKey:
    """The key as validation finds it: by its fingerprint, or by what is visible of it."""
    key = directory.key(key_id)
    found = [directory.find(key.fingerprint), *directory.unverifiable(key.key_prefix)]
    return next(known for known in found if known is not None and known.key_id == key_id)


def build(
    folder: Path,
    reader: LogReader,
    log: EventLog,
    time: ManualTime | None = None,
    peppers: Sequence[Pepper] = (PEPPER,),
    hasher: Hasher | None = None,
) -> Worker:
    """The parts, put together as `services.api.app` does; nothing runs yet."""
    time = time or ManualTime(datetime.now(UTC))
    clock, metrics, hasher = time.clock(), Metrics(), hasher or Hasher(4)
    fingerprints = Fingerprints(peppers)
    directory = KeyDirectory(fingerprints.known_ids)
    node = Node(made(folder), TOPIC.partitions, COUNTERS)
    follower = Follower(reader, directory, node, metrics, clock, time.boottime)
    commands = KeyCommands(
        log, TOPIC.name, follower, directory, node, hasher, fingerprints, clock, metrics, "urn:hokusai:test"
    )
    bcrypt_fallback = BcryptFallback(
        directory, fingerprints, known_peppers(MemoryLog(), fingerprints.known_ids), hasher, clock, metrics
    )
    validator = KeyValidator(directory, fingerprints, bcrypt_fallback, a_view_of_windows())
    return Worker(directory, fingerprints, node, metrics, hasher, follower, commands, validator, clock)


def made(folder: Path) -> Path:
    """The folder of a node, whichever of its workers comes first."""
    folder.mkdir(exist_ok=True)
    return folder


@asynccontextmanager
async def following(worker: Worker, positions: Mapping[int, int] | None = None) -> AsyncIterator[Worker]:
    """The worker at work, from the positions of its snapshot on or from the beginning of the log."""
    await worker.follower.start(positions or {})
    task = asyncio.create_task(worker.follower.run())
    try:
        yield worker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        worker.node.leave()
        worker.hasher.close()


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
    await eventually(lambda: dict(worker.follower.applied) == dict(ends))


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
