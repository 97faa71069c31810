"""Who lives on a stack while it is shaken: holders of keys, callers, emitters, a vandal, an auditor, fate."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import psutil
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from cloudevents.v1.http import CloudEvent
from cloudevents.v1.kafka import to_binary, to_structured

from events.codec import encode
from events.errors import LogUnavailable
from events.kafka_clients import start
from events.kafka_stopping import stop_producer
from events.usage import KeyUsed
from services.local.process import ManagedProcess
from tests.acceptance.client import ApiClient, Created, issued
from tests.acceptance.stack import ApiNode, Stack
from tests.builders import fresh_id, some_usage
from tests.raw_headers import append_with_headers

CODECS = (None, "gzip", "snappy", "lz4", "zstd")
SEND_SECONDS = 25.0
STOP_SECONDS = 5.0
#: Shorter than the broker waits for a producer that says nothing more.
HANGING_TRANSACTION_MS = 5000


@dataclass
class Truth:
    """What was acknowledged, and what was tried; shared by all who live on the stack."""

    stack: Stack
    seed: int
    seconds: float
    #: Nobody begins anything any more; then: everything runs again.
    over: threading.Event = field(default_factory=threading.Event)
    calm: threading.Event = field(default_factory=threading.Event)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    #: Whether a key passes; None where nobody was told how a change of it ended.
    passes: dict[str, bool | None] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    #: By event id: the use, whether it was acknowledged or not.
    tried: dict[str, KeyUsed] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    audits: list[int] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)

    def new_use(self, chance: random.Random) -> KeyUsed | None:
        """A use of some key that was issued; None while there is none."""
        key_ids = list(self.passes)
        if not key_ids:
            return None
        event_id = f"chaos-use-{next(self.numbers)}"
        use = some_usage(key_id=chance.choice(key_ids), id=event_id, predictions_count=chance.randrange(9))
        return self.tried.setdefault(use.id, use)

    def some_acknowledged(self, chance: random.Random) -> KeyUsed | None:
        known = tuple(self.acknowledged)
        return self.tried[chance.choice(known)] if known else None


class Inhabitant(threading.Thread, ABC):
    """Does one thing after the other until it is over; what it does follows from the seed."""

    pause_seconds = (0.0, 0.1)

    def __init__(self, truth: Truth, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.truth = truth
        self.chance = random.Random(f"{truth.seed}/{name}")

    def run(self) -> None:
        try:
            while not self.truth.over.wait(self.chance.uniform(*self.pause_seconds)):
                self.act()
            self.calm_down()
            self.truth.calm.wait()
            self.finish()
        except Exception as error:
            self.truth.problems.append(f"{self.name}: {error!r}")

    @abstractmethod
    def act(self) -> None: ...

    def calm_down(self) -> None:
        """What is to be done before the others may finish."""

    def finish(self) -> None:
        """What is left to do once nothing is shaken any more."""


class Holder(Inhabitant):
    """Creates, rotates and revokes keys."""

    pause_seconds = (0.05, 0.3)

    def __init__(self, truth: Truth, name: str, node: ApiNode) -> None:
        super().__init__(truth, name)
        self._client = node.client
        self._mine: list[Created] = []

    def act(self) -> None:
        what = self.chance.random()
        if what < 0.5 or not self._mine:
            self._try(lambda: self._keep(issued(self._client.create(), 201)), ())
        elif what < 0.75:
            old = self._mine.pop(self.chance.randrange(len(self._mine)))
            self.truth.passes[old.key_id] = None  # in its grace, for as long as that is
            self._try(lambda: self._keep(issued(self._client.rotate(old.key_id), 200)), (old,))
        else:
            key = self._mine.pop(self.chance.randrange(len(self._mine)))
            self.truth.passes[key.key_id] = None
            self._try(lambda: self._revoke(key), (key,))

    def _keep(self, key: Created) -> None:
        self._mine.append(key)
        self.truth.secrets[key.key_id] = key.api_key
        self.truth.passes[key.key_id] = True

    def _revoke(self, key: Created) -> None:
        assert self._client.revoke(key.key_id).status_code == 204
        self.truth.passes[key.key_id] = False
        with contextlib.suppress(httpx.TransportError):
            if self._client.validate(key.api_key).status_code == 200:
                self.truth.problems.append(f"{key.key_id} passed after its revocation was acknowledged")

    def _try(self, change: Callable[[], None], _: Sequence[Created]) -> None:
        # Not answered, or not with what was asked for: nobody knows how it ended.
        with contextlib.suppress(httpx.TransportError, AssertionError):
            change()


class Caller(Inhabitant):
    """Reports use over HTTP, again where it was not told that it counts, and now and then although it was."""

    def __init__(self, truth: Truth, name: str, node: ApiNode) -> None:
        super().__init__(truth, name)
        self._client: ApiClient = node.client
        self._open: list[KeyUsed] = []

    def act(self) -> None:
        use = self.truth.new_use(self.chance) if self.chance.random() < 0.8 else None
        if use is None and self._open:
            use = self._open.pop()
        if use is not None and not self._report(use):
            self._open.append(use)

    def finish(self) -> None:
        deadline = time.monotonic() + SEND_SECONDS
        while self._open and time.monotonic() < deadline:
            if self._report(self._open[-1]):
                self._open.pop()

    def _report(self, use: KeyUsed) -> bool:
        stated = use.data.model_dump(exclude={"key_id"})
        try:
            answer = self._client.report(use.data.key_id, idempotency_key=use.id, **stated)
        except httpx.TransportError:
            return False
        if answer.status_code == 200:
            self.truth.acknowledged.add(use.id)
        elif answer.status_code not in (404, 503):
            self.truth.problems.append(f"a report was answered {answer.status_code}: {answer.text}")
        return answer.status_code == 200


class KafkaInhabitant(Inhabitant):
    """One that writes to Kafka itself, with a producer of each codec."""

    def run(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._producers: dict[str | None, AIOKafkaProducer] = {}
        try:
            super().run()
        finally:
            for producer in self._producers.values():
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    self._loop.run_until_complete(stop_producer(producer, STOP_SECONDS))
            self._loop.close()

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
        codec: str | None = None,
    ) -> bool:
        """Whether it was acknowledged."""
        return self._run(self._send(topic, key, value, list(headers), partition, codec))

    def _run(self, sending: object) -> bool:
        try:
            self._loop.run_until_complete(asyncio.wait_for(sending, SEND_SECONDS))  # type: ignore[arg-type]
        except (KafkaError, TimeoutError, OSError, LogUnavailable):
            return False
        return True

    async def _send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        partition: int | None,
        codec: str | None,
    ) -> None:
        if codec not in self._producers:
            producer = AIOKafkaProducer(
                bootstrap_servers=self.truth.stack.kafka.bootstrap_servers,
                compression_type=codec,
                acks="all",
                max_request_size=200_000_000,
            )
            await start(producer, self.truth.stack.kafka)
            self._producers[codec] = producer
        producer = self._producers[codec]
        await producer.send_and_wait(topic, value, key, partition=partition, headers=headers)


class Emitter(KafkaInhabitant):
    """Emits use in every form that is read, and sends some again, to another partition even."""

    def act(self) -> None:
        again = self.truth.some_acknowledged(self.chance) if self.chance.random() < 0.2 else None
        use = again or self.truth.new_use(self.chance)
        if use is None:
            return
        partitions = self.truth.stack.topics.usage.partitions
        partition = self.chance.randrange(partitions) if again else None
        value, headers = self._form(use)
        key = use.data.key_id.encode()
        codec = self.chance.choice(CODECS)
        if self.send(self.truth.stack.topics.usage.name, key, value, headers, partition, codec):
            self.truth.acknowledged.add(use.id)

    def _form(self, use: KeyUsed) -> tuple[bytes, Sequence[tuple[str, bytes]]]:
        """Structured or binary, as SDKs of CloudEvents send them, or plain."""
        form = self.chance.randrange(3)
        if form == 0:
            return encode(use), ()
        attributes = {
            "id": use.id,
            "source": "urn:chaos",
            "type": use.type,
            "time": use.time.isoformat(),
            "datacontenttype": "application/json; charset=utf-8",
        }
        event = CloudEvent(attributes, use.data.model_dump())
        message = to_binary(event) if form == 1 else to_structured(event)
        assert isinstance(message.value, bytes)
        return message.value, list(message.headers.items())


class Vandal(KafkaInhabitant):
    """Appends what nobody should, to topics that it may write to."""

    pause_seconds = (0.2, 1.0)

    def act(self) -> None:
        usage = self.truth.stack.topics.usage.name
        key = fresh_id().encode()
        deeds: list[Callable[[], object]] = [
            lambda: self.send(usage, key, b"{"),
            lambda: self.send(usage, None, b"\xff"),
            lambda: self.send(usage, key, None),
            lambda: self.send(usage, b"k" * 200_000, b"v" * 848_000),
            lambda: self.send(usage, key, b"[" * 17_000, codec="gzip"),
            lambda: self.send(usage, key, b"0" * 100_000_000, codec="zstd"),
            lambda: self.send(usage, key, encode(some_usage(key_id=key.decode()))),
            lambda: self.send(self.truth.stack.topics.lifecycle.name, key, b"\x00" * 100),
            lambda: self.send(self.truth.stack.topics.hourly_usage.name, key, b"no total"),
            self._contradict,
            self._abort,
            self._append_raw_header,
        ]
        self.chance.choice(deeds)()

    def _contradict(self) -> None:
        """Another content under an id that counts already."""
        if (use := self.truth.some_acknowledged(self.chance)) is not None:
            other = use.model_copy(update={"data": use.data.model_copy(update={"predictions_count": 1000})})
            self.send(self.truth.stack.topics.usage.name, use.data.key_id.encode(), encode(other))

    def _append_raw_header(self) -> None:
        topics = self.truth.stack.topics
        topic = self.chance.choice([topics.usage, topics.lifecycle, topics.hourly_usage])
        partition = self.chance.randrange(topic.partitions)
        self._run(append_with_headers(self.truth.stack.kafka, topic.name, partition))

    def _abort(self) -> None:
        """A use that was never committed, by one that ends its transaction or forgets it."""
        key_ids = list(self.truth.passes)
        if key_ids:
            use = some_usage(key_id=self.chance.choice(key_ids), id=f"chaos-aborted-{self.chance.random()}")
            self._run(self._append_uncommitted(use, forgets=self.chance.random() < 0.3))

    async def _append_uncommitted(self, use: KeyUsed, *, forgets: bool) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.truth.stack.kafka.bootstrap_servers,
            transactional_id=f"vandal-{self.truth.stack.topics.prefix}-{self.chance.random()}",
            transaction_timeout_ms=HANGING_TRANSACTION_MS,
        )
        await start(producer, self.truth.stack.kafka)
        try:
            await producer.begin_transaction()
            topic = self.truth.stack.topics.usage.name
            await producer.send_and_wait(topic, encode(use), use.data.key_id.encode())
            if not forgets:
                await producer.abort_transaction()
        finally:
            await stop_producer(producer, STOP_SECONDS)


class Auditor(Inhabitant):
    """Compares Postgres with the log in the middle of it all: it may be behind, or away, but never wrong."""

    pause_seconds = (3.0, 8.0)

    def act(self) -> None:
        code, said = verify(self.truth.stack, "--at-position")
        self.truth.audits.append(code)
        if code == 1:
            self.truth.problems.append(f"audit verify: {said}")


class Fate(Inhabitant):
    """Kills, stops and pauses one process after the other, and starts it again."""

    pause_seconds = (1.0, 3.0)

    def __init__(
        self, truth: Truth, name: str, services: Sequence[ManagedProcess], servers: Sequence[ManagedProcess]
    ) -> None:
        super().__init__(truth, name)
        self._services, self._servers = services, servers

    def act(self) -> None:
        victim = self.chance.choice(self._servers if self.chance.random() < 0.2 else self._services)
        deeds = [self.kill, self.end, self.pause]
        if isinstance(victim, ApiNode):
            deeds.append(self.kill_a_part)
        deed = self.chance.choice(deeds)
        self.truth.happened.append(f"{deed.__name__.strip('_')} {victim.name}")
        deed(victim)

    def calm_down(self) -> None:
        try:
            for process in (*self._servers, *self._services):
                process.start()
                process.wait_ready()
        finally:
            self.truth.calm.set()

    def kill(self, victim: ManagedProcess) -> None:
        victim.kill()
        victim.start()

    def kill_a_part(self, victim: ManagedProcess) -> None:
        """A worker of a node, or its follower: the node starts another one."""
        assert isinstance(victim, ApiNode)
        # A part that has just died and is not there again is spared.
        if parts := victim.parts():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.chance.choice(parts).kill()

    def end(self, victim: ManagedProcess) -> None:
        victim.stop()
        victim.start()

    def pause(self, victim: ManagedProcess) -> None:
        victim.pause()
        try:
            self.truth.over.wait(self.chance.uniform(0.5, 6.0))
        finally:
            victim.resume()


def live(inhabitants: Sequence[Inhabitant], truth: Truth) -> None:
    """They live until the seconds are over, and finish what they have begun once all runs again."""
    for one in inhabitants:
        one.start()
    truth.over.wait(truth.seconds)
    truth.over.set()
    for one in inhabitants:
        one.join(timeout=180)
        if one.is_alive():
            truth.problems.append(f"{one.name} does not end")


def verify(stack: Stack, *arguments: str) -> tuple[int, str]:
    """`hokusai-auth audit verify`: its exit code and what it said."""
    command = [sys.executable, "-m", "services.cli", "audit", "verify", *arguments]
    ended = subprocess.run(
        command,
        env={**os.environ, **stack.settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ended.returncode, f"{ended.stdout}{ended.stderr}"
