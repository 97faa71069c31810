"""UsageEmitter: what was taken arrives, in order, whatever the log does meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from events import waiting
from events.codec import decode
from events.emitter import UsageEmitter
from events.errors import LogUnavailable, SettingsError, UsageNotDelivered
from events.log import PlainRecord, Position
from events.memory_log import MemoryLog
from events.settings import KafkaSettings
from events.topics import Topics
from events.usage import KeyUsed
from tests.builders import CREATED_AT, fresh_id, some_usage
from tests.certificates import Authority
from tests.fakes import UnsteadyLog

pytestmark = pytest.mark.anyio

NOWHERE = KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
KEYS = [fresh_id() for _ in range(5)]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE_SECONDS", 0.005)


class FailingLog(UnsteadyLog):
    """Fails in turn: before the record is there, after it, and with an error that nobody foresaw."""

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        self.is_away, self.loses_answers = self.attempts % 5 == 1, self.attempts % 5 == 3
        if self.attempts % 7 == 6:
            self.attempts += 1
            raise RuntimeError("unforeseen")
        return await super().append(topic, key, value, headers)


@dataclass
class World:
    """An emitter's surroundings: the log that it sends to, and what arrived there."""

    memory: MemoryLog
    log: UnsteadyLog
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def emitter(self, refusals: int = 0, *, closes_slowly: bool = False, **settings: Any) -> UsageEmitter:
        """One whose log cannot be opened this many times, and closes at once or when `closed` is set."""
        remaining = iter(range(refusals))

        class Opening:
            """The log, whose opening may fail."""

            async def __aenter__(_) -> UnsteadyLog:  # noqa: N805
                if next(remaining, None) is not None:
                    raise LogUnavailable("no connection")
                return self.log

            async def __aexit__(*_: object) -> None:
                self.closing.set()
                if closes_slowly:
                    await self.closed.wait()

        settings = {"source": "urn:hokusai:platform", "actor": "platform", "close_seconds": 5.0, **settings}
        return UsageEmitter(NOWHERE, Topics(), log=Opening(), **settings)

    async def records(self) -> Sequence[PlainRecord]:
        reader = self.memory.reader(Topics().usage)
        await reader.begin({})
        return await reader.read(timeout_seconds=0.01)

    async def events(self) -> list[KeyUsed]:
        """What arrived, each event once, those of a key in order."""
        arrived: dict[str, KeyUsed] = {}
        for record in await self.records():
            event = decode(record.value)
            assert isinstance(event, KeyUsed)
            arrived.setdefault(event.id, event)
        return list(arrived.values())


@pytest.fixture
def world() -> World:
    memory = MemoryLog()
    return World(memory, UnsteadyLog(memory))


@pytest.fixture
def failing() -> World:
    memory = MemoryLog()
    return World(memory, FailingLog(memory))


async def test_what_is_emitted_is_in_the_log_as_it_was_said(world: World) -> None:
    used = some_usage()
    async with world.emitter() as emitter:
        event_id = await emitter.emit(used.data)
    [event], [record] = await world.events(), await world.records()
    assert (event.data, event.id, record.key) == (used.data, event_id, used.data.key_id.encode())
    assert (event.source, event.actor) == ("urn:hokusai:platform", "platform")
    assert (emitter.sent, emitter.waiting, emitter.unacknowledged) == (1, 0, 0)


@pytest.mark.parametrize("way", ["emit", "offer"])
async def test_id_and_time_are_those_of_the_caller(world: World, way: str) -> None:
    moment = CREATED_AT + timedelta(seconds=1)
    async with world.emitter() as emitter:
        if way == "emit":
            assert await emitter.emit(some_usage().data, id="request-1", time=moment) == "request-1"
        else:
            assert emitter.offer(some_usage().data, id="request-1", time=moment)
    [event] = await world.events()
    assert (event.id, event.time) == ("request-1", moment)


@pytest.mark.parametrize(
    "absurd",
    [{"id": ""}, {"id": "x" * 256}, {"time": CREATED_AT.replace(tzinfo=None)}],
    ids=["empty", "long", "no zone"],
)
async def test_an_absurd_id_or_time_is_refused_and_takes_no_room(world: World, absurd: Any) -> None:
    async with world.emitter(capacity=1) as emitter:
        with pytest.raises(ValidationError):
            await emitter.emit(some_usage().data, **absurd)
        with pytest.raises(ValidationError):
            emitter.offer(some_usage().data, **absurd)
        assert emitter.offer(some_usage().data)
    assert emitter.sent == 1


async def test_every_event_arrives_in_the_order_of_its_key_whatever_fails(failing: World) -> None:
    async with failing.emitter() as emitter:
        for number in range(200):
            await emitter.emit(some_usage(key_id=KEYS[number % 5], status_code=number).data)
    events = await failing.events()
    for place, key in enumerate(KEYS):
        numbers = [event.data.status_code for event in events if event.subject == key]
        assert numbers == list(range(place, 200, 5))
    assert (emitter.sent, emitter.waiting, emitter.unacknowledged) == (200, 0, 0)


async def test_what_is_sent_again_has_the_same_bytes(failing: World) -> None:
    async with failing.emitter() as emitter:
        for _ in range(50):
            await emitter.emit(some_usage(key_id=KEYS[0]).data)
    values = [record.value for record in await failing.records()]
    assert len(values) > len(set(values)) == 50


async def test_one_outage_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.log.is_away = True
    async with world.emitter() as emitter:
        for _ in range(100):
            await emitter.emit(some_usage().data)
        await until(lambda: world.log.attempts > 60)
        world.log.is_away = False
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_log_that_is_away_at_the_start_is_waited_for(world: World) -> None:
    async with world.emitter(refusals=3) as emitter:
        await emitter.emit(some_usage().data)
        assert (emitter.sent, emitter.waiting) == (0, 1)
    assert emitter.sent == 1


async def test_emitting_waits_for_room_and_offering_does_not(world: World) -> None:
    world.log.hold()
    async with world.emitter(capacity=3) as emitter:
        for _ in range(3):
            await emitter.emit(some_usage(key_id=KEYS[0]).data)
        await until(lambda: emitter.unacknowledged == 1)
        assert emitter.waiting == 2
        assert not emitter.offer(some_usage().data)
        fourth = asyncio.create_task(emitter.emit(some_usage().data))
        await asyncio.wait({fourth}, timeout=0.05)
        assert not fourth.done()
        world.log.let_through()
        await fourth
        await until(lambda: emitter.sent == 4)
        assert emitter.offer(some_usage().data)
    assert len(await world.events()) == emitter.sent == 5


async def test_a_caller_that_stops_waiting_has_emitted_nothing(world: World) -> None:
    world.log.hold()
    async with world.emitter(capacity=1) as emitter:
        taken = await emitter.emit(some_usage().data)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(emitter.emit(some_usage().data), 0.02)
        world.log.let_through()
        await until(lambda: emitter.sent == 1)
        assert emitter.offer(some_usage().data, id="later")
    assert {event.id for event in await world.events()} == {taken, "later"}


async def test_a_caller_that_emits_without_pause_lets_others_run(world: World) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with world.emitter() as emitter:
        running = asyncio.create_task(others())
        for _ in range(100):
            await emitter.emit(some_usage().data)
        running.cancel()
    assert turns >= 100


async def test_closing_gives_up_in_time_and_tells_how_much_is_lost(world: World) -> None:
    world.log.hold()
    emitter = world.emitter(close_seconds=0.05)
    with pytest.raises(UsageNotDelivered, match=r"^4 usage events .* within 0\.05 s") as loss:
        await emit_some(emitter, 4)
    assert loss.value.count == emitter.unacknowledged == 4
    assert (emitter.sent, emitter.waiting) == (0, 0)


async def test_what_was_lost_once_is_not_waited_for_when_it_closes_again(world: World) -> None:
    world.log.hold()
    emitter = world.emitter(close_seconds=0.3)
    with pytest.raises(UsageNotDelivered):
        await emit_some(emitter, 4)
    world.log.let_through()
    began = time.monotonic()
    await emit_some(emitter, 1)
    assert time.monotonic() - began < 0.3
    assert (emitter.sent, emitter.waiting, emitter.unacknowledged) == (1, 0, 0)


async def test_an_error_of_the_caller_is_more_important_than_the_loss(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.log.hold()
    with pytest.raises(ZeroDivisionError):
        await emit_some(world.emitter(close_seconds=0.05), 1, then=ZeroDivisionError())
    assert caplog.record_tuples[-1][1:] == (
        logging.ERROR,
        "1 usage events were not acknowledged within 0.05 s of closing",
    )


@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_while_it_closes_it_says_what_it_lost(
    world: World, caplog: pytest.LogCaptureFixture, times: int
) -> None:
    """The second cancellation comes while it waits for its client to close."""
    world.log.hold()
    emitter = world.emitter(close_seconds=60.0, closes_slowly=times > 1)
    async with asyncio.TaskGroup() as tasks:
        emitting = tasks.create_task(emit_some(emitter, 4))
        await until(lambda: emitter.unacknowledged == 1 and emitter.waiting == 3)
        await until(lambda: is_closed(emitter))
        emitting.cancel()
        if times > 1:
            await world.closing.wait()
            emitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await emitting
        assert caplog.record_tuples[-1][1:] == (
            logging.ERROR,
            "4 usage events were not acknowledged: closing was cancelled",
        )
        assert (emitter.unacknowledged, emitter.waiting, emitter.sent) == (4, 0, 0)
        world.closed.set()


async def test_cancelled_while_it_closes_it_is_silent_about_no_loss(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    emitter = world.emitter(closes_slowly=True)
    async with asyncio.TaskGroup() as tasks:
        emitting = tasks.create_task(emit_some(emitter, 4))
        await world.closing.wait()
        emitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await emitting
        world.closed.set()
    assert (emitter.sent, caplog.records) == (4, [])


async def test_who_waits_for_room_when_it_closes_is_told_so(world: World) -> None:
    world.log.hold()
    emitter = world.emitter(capacity=1, close_seconds=0.1)
    taking = asyncio.create_task(emit_some(emitter, 1))
    await until(lambda: emitter.unacknowledged)
    late = [asyncio.create_task(emitter.emit(some_usage().data)) for _ in range(3)]
    outcomes = await asyncio.wait_for(asyncio.gather(taking, *late, return_exceptions=True), 1)
    assert [type(outcome) for outcome in outcomes] == [UsageNotDelivered] + [LogUnavailable] * 3


async def test_before_it_is_open_and_after_it_is_closed_nothing_is_taken(world: World) -> None:
    emitter = world.emitter()
    for _ in range(2):
        with pytest.raises(LogUnavailable, match="closed"):
            await emitter.emit(some_usage().data)
        with pytest.raises(LogUnavailable, match="closed"):
            emitter.offer(some_usage().data)
        async with emitter:
            pass
    assert await world.events() == []


async def test_no_task_outlives_it(world: World) -> None:
    before = asyncio.all_tasks()
    async with world.emitter() as emitter:
        await emitter.emit(some_usage().data)
    assert asyncio.all_tasks() == before


async def test_settings_that_cannot_work_are_told_at_once(tmp_path: Path) -> None:
    cafile = Authority(tmp_path).cafile
    kafka = KafkaSettings.from_environment(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CAFILE": str(cafile),
        }
    )
    cafile.unlink()
    with pytest.raises(SettingsError, match="KAFKA_SSL_CAFILE"):
        async with UsageEmitter(kafka, Topics(), source="s", actor="a"):
            pass


def is_closed(emitter: UsageEmitter) -> bool:
    """Asked with an event that is never taken."""
    with pytest.raises((LogUnavailable, ValidationError)) as refusal:
        emitter.offer(some_usage().data, id="")
    return refusal.type is LogUnavailable


async def emit_some(emitter: UsageEmitter, count: int, then: Exception | None = None) -> None:
    """Events of one key, and then perhaps an error of the caller."""
    async with emitter:
        for _ in range(count):
            await emitter.emit(some_usage(key_id=KEYS[0]).data)
        if then is not None:
            raise then


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)
