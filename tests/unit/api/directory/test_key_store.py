"""The file of a node's keys: how it grows, who reads it, and what a full disk comes to."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lmdb
import pytest

from events.memory_log import MemoryLog
from services.api.directory import key_store, lifecycle_follower
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_store import FOLDER, KeyStore
from services.api.directory.store_writer import StoreWriter
from services.api.errors import StoreUnavailable
from tests.builders import a_key_created, a_key_revoked, lifecycle_record
from tests.fakes import ManualTime
from tests.unit.api.directory.harness import OWN_PEPPERS, StoreHarness, a_store
from tests.unit.api.workers import TOPIC, append, build, caught_up, eventually, following

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SPAWN = multiprocessing.get_context("spawn")


class ReadingProcess:
    """A worker: it has opened the store, and says until when a key is active as often as it is asked."""

    def __init__(self, folder: Path) -> None:
        self._orders, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_answer, args=(folder, theirs), daemon=True)
        self._process.start()

    def active_until(self, key_id: str) -> float | None:
        self._orders.send(key_id)
        assert self._orders.poll(20), "the worker does not answer"
        found: float | None = self._orders.recv()
        return found

    def is_killed(self) -> None:
        self._process.kill()
        self._process.join(20)
        self._orders.close()


def _answer(folder: Path, orders: Connection) -> None:
    store = KeyStore(folder, readonly=True)
    directory = KeyDirectory(store)
    while True:
        key_id = orders.recv()
        if key_id == "hold a snapshot":
            held = store.begin()
            orders.send(float(held.id()))
        else:
            facts = directory.facts(key_id)
            orders.send(None if facts is None else facts.active_until)


@contextmanager
def a_worker(folder: Path) -> Iterator[ReadingProcess]:
    worker = ReadingProcess(folder)
    try:
        yield worker
    finally:
        worker.is_killed()


@pytest.fixture
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_store, "FIRST_MAP_BYTES", 32 * 4096)


def map_bytes(store: StoreHarness) -> int:
    size: int = store.store.environment.info()["map_size"]
    return size


def test_the_map_grows_by_itself_and_its_readers_go_on(small_map: None, tmp_path: Path) -> None:
    store = a_store(tmp_path)
    before, first = map_bytes(store), a_key_created()
    store.applies(first)
    with a_worker(tmp_path) as worker:
        assert worker.active_until(first.data.key_id) == float("inf")
        many = [a_key_created() for _ in range(500)]
        store.applies(*many, a_key_revoked(first))
        assert map_bytes(store) >= 4 * before

        assert worker.active_until(first.data.key_id) == float("-inf")
        assert worker.active_until(many[-1].data.key_id) == float("inf")
    assert store.keys == 501
    assert all(store.find(created.data.fingerprint) for created in many)


def test_a_store_that_has_grown_is_opened_as_it_is(small_map: None, tmp_path: Path) -> None:
    store = KeyStore(tmp_path, readonly=False)
    many = [lifecycle_record(a_key_created()) for _ in range(500)]
    StoreWriter(store, OWN_PEPPERS).apply(many, {0: 500})
    store.close()

    again = KeyStore(tmp_path, readonly=False)
    assert again.counts() == (500, 0, 0)
    assert again.positions() == {0: 500}
    again.close()


def test_nobody_but_the_owner_can_read_it(tmp_path: Path) -> None:
    a_store(tmp_path).applies(a_key_created())

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / FOLDER).iterdir()}
    assert modes == {"data.mdb": 0o600, "lock.mdb": 0o600}
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


def test_a_worker_that_was_killed_keeps_no_snapshot(tmp_path: Path) -> None:
    """The store would keep all that it saw, and grow with every write."""
    store = a_store(tmp_path)
    store.applies(a_key_created())
    with a_worker(tmp_path) as worker:
        assert worker.active_until("hold a snapshot") is not None
    readers = store.store.environment.readers()
    assert len(readers.splitlines()) > 1

    assert store.store.environment.reader_check() == 1


def test_there_is_none_to_read_where_nobody_has_written_one(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        KeyStore(tmp_path, readonly=True)


@contextmanager
def no_room(store: StoreHarness) -> Iterator[None]:
    """No file of this process may grow, as on a full disk."""
    size = (Path(store.store.environment.path()) / "data.mdb").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_where_there_is_no_room_nothing_of_the_work_is_kept_and_later_all_of_it(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    first = a_key_created()
    store.applies(first)
    many = [a_key_created() for _ in range(300)]
    with no_room(store):
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=FOLDER):
                store.applies(*many, a_key_revoked(first))
        assert store.keys == 1
        assert store.facts(first.data.key_id).active_until == float("inf")

    store.applies(*many, a_key_revoked(first))

    assert store.keys == 301
    assert store.facts(first.data.key_id).active_until == float("-inf")


@pytest.mark.parametrize("error", [lmdb.BadValsizeError, lmdb.PanicError, lmdb.CorruptedError])
def test_what_is_no_want_of_room_is_not_waited_out(tmp_path: Path, error: type[lmdb.Error]) -> None:
    def work(_: Any) -> None:
        raise error("what LMDB says")

    with pytest.raises(error):
        a_store(tmp_path).store.write(work)


@pytest.mark.anyio
async def test_a_follower_without_room_lives_gets_stale_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle_follower, "EXHAUSTION_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(lifecycle_follower, "ASK_SECONDS", 0.0)
    log, time, first = MemoryLog(), ManualTime(NOW), a_key_created()
    await append(log, first)
    async with following(build(tmp_path, log.reader(TOPIC), log, time)) as worker:
        refused = 0

        def refuse(_: object) -> None:
            nonlocal refused
            refused += 1
            raise StoreUnavailable("no space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(worker.store, "write", refuse)
            await append(log, a_key_revoked(first), *(a_key_created() for _ in range(20)))
            time.pass_by(400)
            await eventually(lambda: refused > 5 and worker.freshness.silence_seconds == 0)
            assert worker.freshness.staleness_seconds == 400
            assert len(worker.directory) == 1

        await caught_up(worker, log)
        assert len(worker.directory) == 21
        await eventually(lambda: worker.freshness.staleness_seconds == 0)
    assert caplog.text.count("no space left on device") == 1
