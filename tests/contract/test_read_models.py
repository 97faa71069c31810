"""What the api's read models promise, kept by Postgres behind a projector and by the twin in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from events.claims import advance, claim_partition
from events.codec import encode
from events.keeper.schema import prepare_schema, remember_log
from events.keys import KeyCreated, KeyEvent
from events.lifecycle import fold
from events.lineage import Lineage
from events.log import Record
from events.log_identity import LogIdentity
from events.memory_log import MemoryLog
from events.topics import Topics
from services.api import read_models as postgres_read_models
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_store import KeyStore
from services.api.directory.store_writer import StoreWriter
from services.api.errors import ReadModelUnavailable
from services.api.ports import ReadModels, SnapshotReadModels
from services.api.read_models import KeyPage, KnownMarks, Page, PostgresReadModels
from services.api.schemas import ApiKeyInfo
from services.projector.keys import KeysProjection
from services.projector.schema import projector_schema
from tests.builders import (
    CREATED_AT,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    fresh_id,
)
from tests.fakes import MemoryReadModels

pytestmark = pytest.mark.anyio

TOPICS = Topics.from_environment({})
TOPIC = TOPICS.lifecycle
THE_LOG = LogIdentity("the cluster", TOPIC.name)
NOW = CREATED_AT + timedelta(hours=1)
EVERYTHING: dict[str, Any] = {"services": None, "active_only": False, "page": None, "limit": 1000}


class AllReadModels(ReadModels, SnapshotReadModels, Protocol):
    """What workers ask, and what their node's follower asks."""


@dataclass
class Subject:
    """One implementation, and what brings it up to the end of the log."""

    read_models: AllReadModels
    log: MemoryLog
    project: Callable[[], Awaitable[None]]

    async def knows(self, *events: KeyEvent) -> None:
        for event in events:
            await self.log.append(TOPIC.name, event.partitionkey.encode(), encode(event))
        await self.project()

    async def page(self, now: datetime = NOW, **wanted: Any) -> KeyPage:
        return await self.read_models.list_keys({}, now, **{**EVERYTHING, **wanted})

    async def listed(self, now: datetime = NOW, **wanted: Any) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = json.loads(b"[%s]" % (await self.page(now, **wanted)).keys)
        return infos

    async def listed_ids(self, now: datetime = NOW, **wanted: Any) -> list[str]:
        return [info["key_id"] for info in await self.listed(now, **wanted)]


@dataclass
class Snapshot:
    """What a node's store holds once it was filled, and where in the log it stands."""

    directory: KeyDirectory
    store: KeyStore
    positions: Mapping[int, int]

    def lineage(self, lineage: Lineage) -> Lineage | None:
        return self.directory.lineage(lineage.lineage_id, [key.key_id for key in lineage.keys])


Fill = Callable[..., Awaitable[Snapshot]]


@pytest.fixture
def fill(tmp_path: Path) -> Iterator[Fill]:
    """Fills the store of a node that has these peppers."""
    store = KeyStore(tmp_path, readonly=False)

    async def fill(read_models: SnapshotReadModels, *pepper_ids: str) -> Snapshot:
        log = await read_models.known_log()
        assert log is not None
        positions = await read_models.fill(StoreWriter(store, frozenset(pepper_ids)), log)
        return Snapshot(KeyDirectory(store), store, positions)

    yield fill
    store.close()


@pytest.fixture(params=["memory", "postgres"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    log = MemoryLog()
    opened = _in_memory(log) if request.param == "memory" else _postgres(log, request)
    async with opened as subject:
        yield subject


@asynccontextmanager
async def _in_memory(log: MemoryLog) -> AsyncIterator[Subject]:
    async def nothing_to_do() -> None: ...

    yield Subject(MemoryReadModels(log, TOPIC, THE_LOG), log, nothing_to_do)


def _postgres(log: MemoryLog, request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Subject]:
    return _in_postgres(log, request.getfixturevalue("database_url"))


@asynccontextmanager
async def _in_postgres(log: MemoryLog, database_url: str) -> AsyncIterator[Subject]:
    read_models = PostgresReadModels(database_url, TOPIC.name)
    await read_models.open()
    async with await psycopg.AsyncConnection.connect(
        database_url, autocommit=True, options="-c search_path=projector"
    ) as connection:
        await prepare_schema(connection, projector_schema())
        await remember_log(connection, THE_LOG)
        projection = Projected(log, connection)
        await projection.catch_up()
        yield Subject(read_models, log, projection.catch_up)
    await read_models.close()


class Projected:
    """The projector's work without its process: batches and offsets, in one transaction each."""

    def __init__(self, log: MemoryLog, connection: psycopg.AsyncConnection[Any]) -> None:
        self._projection = KeysProjection(TOPICS)
        self._connection = connection
        self._log = log

    async def catch_up(self) -> None:
        for partition in range(TOPIC.partitions):
            claim = await claim_partition(self._connection, self._projection.name, TOPIC.name, partition)
            records = [one for one in await everything(self._log) if one.partition == partition]
            async with self._connection.transaction():
                await advance(self._connection, claim, len(records))
                await self._projection.apply(self._connection, records[claim.next_offset :])


async def everything(log: MemoryLog) -> Sequence[Record]:
    reader = log.reader(TOPIC)
    await reader.begin({})
    return await reader.read(timeout_seconds=0)


def created_in_turn(count: int, **facts: Any) -> list[KeyCreated]:
    """Keys, each created a minute after the one before; their ids are in no such order."""
    ids_falling = sorted((fresh_id() for _ in range(count)), reverse=True)
    return [
        a_key_created(key_id=key_id, time=CREATED_AT + timedelta(minutes=minute), **facts)
        for minute, key_id in enumerate(ids_falling)
    ]


def ids(events: Sequence[KeyCreated]) -> list[str]:
    return [event.data.key_id for event in events]


async def test_a_key_is_shown_as_the_log_tells_it(subject: Subject, fill: Fill) -> None:
    created = a_key_created(
        scopes=("model:read", "train"),
        allowed_ips=("10.0.0.0/8", "2001:db8::1"),
        monthly_prediction_limit=0,
        expires_at=CREATED_AT + timedelta(days=30),
        lifetime_days=30,
        time=CREATED_AT + timedelta(microseconds=123_456),
    )
    await subject.knows(created)

    info = await subject.read_models.get_key(created.data.key_id, {}, NOW)

    lineage = (await fill(subject.read_models)).directory.lineage(created.data.key_id)
    assert lineage is not None
    assert info == ApiKeyInfo.of(lineage.current, NOW)
    assert info is not None
    assert info.id == info.key_id == created.data.key_id
    assert (await subject.page()).keys == info.model_dump_json().encode()


async def test_nothing_is_known_of_a_key_that_nobody_created(subject: Subject) -> None:
    assert await subject.read_models.get_key(fresh_id(), {}, NOW) is None
    assert await subject.listed() == []


async def test_keys_are_listed_oldest_first_dead_ones_included(subject: Subject) -> None:
    first, second, third = created_in_turn(3)
    await subject.knows(third, first, second, a_key_revoked(first))

    listed = await subject.listed()

    assert [(info["key_id"], info["is_active"]) for info in listed] == [
        (first.data.key_id, False),
        (second.data.key_id, True),
        (third.data.key_id, True),
    ]


async def test_keys_of_the_same_moment_are_listed_by_their_ids(subject: Subject) -> None:
    created = [a_key_created() for _ in range(5)]
    await subject.knows(*reversed(created))

    assert await subject.listed_ids() == sorted(ids(created))


async def test_keys_are_filtered_by_service(subject: Subject) -> None:
    (platform,) = created_in_turn(1, service_id="platform")
    (website,) = created_in_turn(1, service_id="website")
    (prediction,) = created_in_turn(1, service_id="prediction")
    await subject.knows(platform, website, prediction)

    assert set(await subject.listed_ids(services=["platform", "website"])) == set(ids([platform, website]))
    assert await subject.listed_ids(services=["prediction"]) == ids([prediction])
    assert await subject.listed_ids(services=[]) == []


async def test_active_only_leaves_out_what_is_dead_or_expired_at_that_moment(subject: Subject) -> None:
    living, revoked, rotated, graced, expiring = created_in_turn(5)
    expiring = a_key_created(expires_at=NOW, lifetime_days=1, time=expiring.time)
    rotation, grace = a_key_rotated(rotated), a_key_rotated(graced, valid_until=NOW)
    await subject.knows(living, revoked, a_key_revoked(revoked), rotated, rotation, graced, grace, expiring)
    always = {living.data.key_id, rotation.data.new_key.key_id, grace.data.new_key.key_id}
    just_before = NOW - timedelta(microseconds=1)

    assert set(await subject.listed_ids(just_before, active_only=True)) == {
        *always,
        graced.data.key_id,
        expiring.data.key_id,
    }
    assert set(await subject.listed_ids(NOW, active_only=True)) == always
    assert len(await subject.listed_ids(NOW)) == 7


async def test_an_old_key_is_active_until_its_grace_ends(subject: Subject) -> None:
    created = a_key_created()
    await subject.knows(created, a_key_rotated(created, valid_until=NOW))

    async def is_active(now: datetime) -> bool:
        info = await subject.read_models.get_key(created.data.key_id, {}, now)
        assert info is not None
        return info.is_active

    assert await is_active(NOW - timedelta(microseconds=1))
    assert not await is_active(NOW)


async def test_an_expired_key_is_shown_as_active(subject: Subject) -> None:
    """`is_active` is about revocation; when a key ends is told by `expires_at`."""
    created = a_key_created(expires_at=CREATED_AT + timedelta(minutes=1), lifetime_days=1)
    await subject.knows(created)

    info = await subject.read_models.get_key(created.data.key_id, {}, NOW)

    assert info is not None
    assert info.is_active


async def test_every_key_of_a_parked_lineage_is_inactive(subject: Subject) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=NOW + timedelta(days=1))
    await subject.knows(created, rotated, a_key_revoked(rotated, sequence=7))

    assert [info["is_active"] for info in await subject.listed()] == [False, False]
    assert await subject.listed(active_only=True) == []


async def test_a_list_goes_on_after_a_page(subject: Subject) -> None:
    same_moment = [a_key_created() for _ in range(3)]
    later = created_in_turn(4)[1:]
    await subject.knows(*later, *same_moment)
    whole = await subject.listed()

    pages: list[bytes] = []
    place: Page | None = None
    for _ in range(6):
        page = await subject.page(page=place, limit=1)
        pages.append(page.keys)
        place = page.following

    assert json.loads(b"[%s]" % b",".join(pages)) == whole
    assert place is None


async def test_what_is_in_a_name_is_listed_to_the_byte(subject: Subject) -> None:
    """Postgres writes the JSON of a list, everything else is written by pydantic."""
    names = ['"quoted"', "back\\slash", "sl/ash", "ünïcode 鍵 🔑", "<&>'", "\x7f", "\u2028", "a\tb\nc\x01"]
    created = [a_key_created(name=name, scopes=(name,), billing_plan=name) for name in names]
    await subject.knows(*created)

    for event in created:
        info = await subject.read_models.get_key(event.data.key_id, {}, NOW)
        assert info is not None
        assert info.model_dump_json().encode() in (await subject.page()).keys


async def test_pages_of_one_schema_are_of_one_generation(subject: Subject) -> None:
    await subject.knows(*created_in_turn(3))
    first = await subject.page(limit=1)
    second = await subject.page(page=first.following, limit=1)
    assert first.generation == second.generation


async def test_a_snapshot_is_the_fold_of_the_log_up_to_its_positions(subject: Subject, fill: Fill) -> None:
    living, revoked, rotated, parked = created_in_turn(4, expires_at=NOW, lifetime_days=30)
    never_created = a_key_created()
    rotation = a_key_rotated(rotated, valid_until=NOW)
    await subject.knows(
        living,
        a_refingerprinting(living),
        revoked,
        a_key_revoked(revoked),
        rotated,
        rotation,
        a_key_rotated(rotation),
        parked,
        a_key_revoked(parked, sequence=9),
        a_key_revoked(never_created),
    )

    snapshot = await fill(subject.read_models)

    lineages: dict[str, Lineage] = {}
    records = await everything(subject.log)
    for record in records:
        if (lineage := fold(record, lineages.get).lineage) is not None:
            lineages[lineage.lineage_id] = lineage
    assert [snapshot.lineage(lineage) for lineage in lineages.values()] == list(lineages.values())
    assert len(snapshot.directory) == sum(len(lineage.keys) for lineage in lineages.values())
    assert len(lineages) == 5
    assert dict(snapshot.positions) == {
        partition: sum(record.partition == partition for record in records)
        for partition in range(TOPIC.partitions)
    }


async def test_a_snapshot_has_the_fingerprint_that_a_key_was_given_last(subject: Subject, fill: Fill) -> None:
    """Today's pepper finds the key on a node that has never seen it used."""
    created = a_key_created(pepper_id="retired")
    before = a_key_rotated(created, pepper_id="retired", valid_until=NOW)
    await subject.knows(created, before)
    old = a_refingerprinting(before, key_id=created.subject, pepper_id="today")
    current = a_refingerprinting(before, sequence=4, pepper_id="today")
    await subject.knows(old, current)

    snapshot = await fill(subject.read_models, "today")

    for event in (old, current):
        known = snapshot.directory.find(bytes.fromhex(event.data.fingerprint))
        assert known is not None
        assert known.key_id == event.data.key_id
    assert snapshot.directory.find(bytes.fromhex(created.data.fingerprint)) is None
    assert snapshot.store.counts() == (2, 0, 0)


async def test_whose_log_it_was_is_known(subject: Subject) -> None:
    assert await subject.read_models.known_log() == THE_LOG
    assert await subject.read_models.is_reachable()


async def test_questions_about_what_is_not_projected_yet_are_refused(
    subject: Subject, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_read_models, "WAIT_SECONDS", 0.05)
    created = a_key_created()
    await subject.knows(created)
    positions = (await fill(subject.read_models)).positions
    assert await subject.read_models.get_key(created.data.key_id, positions, NOW) is not None

    beyond = {partition: offset + 1 for partition, offset in positions.items()}
    with pytest.raises(ReadModelUnavailable, match="behind the log"):
        await subject.read_models.get_key(created.data.key_id, beyond, NOW)
    with pytest.raises(ReadModelUnavailable, match="behind the log"):
        await subject.read_models.list_keys(beyond, NOW, **EVERYTHING)


class TestPostgresAlone:
    async def test_a_question_waits_for_the_projection_to_pass(self, database_url: str) -> None:
        log, created = MemoryLog(), a_key_created()
        async with _in_postgres(log, database_url) as subject:
            position = await log.append(TOPIC.name, created.partitionkey.encode(), encode(created))
            asking = asyncio.create_task(
                subject.read_models.get_key(
                    created.data.key_id, {position.partition: position.offset + 1}, NOW
                )
            )
            await asyncio.wait([asking], timeout=0.05)
            assert not asking.done()

            await subject.project()

            info = await asyncio.wait_for(asking, 5)
            assert info is not None
            assert info.key_id == created.data.key_id

    async def test_a_schema_that_is_not_there_is_being_rebuilt(self, database_url: str, fill: Fill) -> None:
        read_models = PostgresReadModels(database_url, TOPIC.name)
        await read_models.open()
        try:
            with pytest.raises(ReadModelUnavailable, match="being rebuilt"):
                await read_models.known_log()
            with pytest.raises(ReadModelUnavailable, match="being rebuilt"):
                await fill(read_models)
            with pytest.raises(ReadModelUnavailable, match="being rebuilt"):
                await read_models.list_keys({}, NOW, **EVERYTHING)
            assert not await read_models.is_reachable()
        finally:
            await read_models.close()

    async def test_a_server_that_is_not_there_is_told_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres_read_models, "WAIT_SECONDS", 0.2)
        read_models = PostgresReadModels("host=127.0.0.1 port=1", TOPIC.name)
        await read_models.open()
        try:
            with pytest.raises(ReadModelUnavailable, match="not available"):
                await asyncio.wait_for(read_models.get_key(fresh_id(), {}, NOW), 5)
            assert not await read_models.is_reachable()
        finally:
            await read_models.close()


async def test_nothing_was_marked_or_lost_of_a_log_that_nobody_has_read(subject: Subject) -> None:
    assert await subject.read_models.known_marks() == KnownMarks([], [])
