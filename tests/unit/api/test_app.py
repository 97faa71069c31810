"""How a node starts, lives and stops: its follower, and a worker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

from events.errors import WrongLog
from events.log_identity import LogIdentity
from events.memory_log import MemoryLog
from services.api import app, log_watch
from tests.builders import a_key_created, a_key_revoked
from tests.fakes import MEMORY_LOG, MemoryReadModels
from tests.unit.api.running import Surroundings, running
from tests.unit.api.workers import TOPIC, append, eventually

pytestmark = pytest.mark.anyio

KEYS = "/api/v1/keys"
VALIDATE = "/api/v1/keys/validate"
OLD_PEPPER = "2026:a pepper of thirty-two characters"
NEW_PEPPER = "2027:another pepper of many characters"


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


async def status(api: Surroundings, secret: str) -> int:
    async with api.client(admin=False) as client:
        return (await client.post(VALIDATE, json={"api_key": secret})).status_code


async def a_key(api: Surroundings) -> dict[str, Any]:
    async with api.client() as admin:
        answer = await admin.post(KEYS, json={"name": "ci", "service_id": "platform"})
    body: dict[str, Any] = answer.json()
    return body


class TestStarting:
    async def test_from_a_snapshot_replays_nothing(self, log: MemoryLog, tmp_path: Path) -> None:
        created = a_key_created()
        await append(log, created, a_key_revoked(created), a_key_created())

        async with running(tmp_path, log=log) as api:
            assert api.metric("keys") == 2
            assert api.metric("events_applied_total") == 0

    async def test_without_postgres_replays_the_whole_log(
        self, log: MemoryLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        created = a_key_created()
        await append(log, created, a_key_revoked(created), a_key_created())
        read_models = MemoryReadModels(log, TOPIC)
        read_models.is_away = True

        async with running(tmp_path, log=log, read_models=read_models) as api:
            assert api.metric("keys") == 2
            assert api.metric("events_applied_total") == 3
        assert "replaying the whole log" in caplog.text

    async def test_the_log_is_checked_against_the_cluster_that_the_read_models_know(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        this = LogIdentity("this", TOPIC.name)
        that = LogIdentity("that", TOPIC.name)
        asked: list[LogIdentity | None] = []

        async def check_log(known: LogIdentity | None) -> LogIdentity:
            asked.append(known)
            return this

        async with running(
            tmp_path, read_models=MemoryReadModels(log, TOPIC, that), log=log, check_log=check_log
        ):
            assert asked == [that]

    async def test_beside_another_log_is_refused(self, log: MemoryLog, tmp_path: Path) -> None:
        async def check_log(known: LogIdentity | None) -> LogIdentity:
            raise WrongLog(f"not {known and known.cluster_id}")

        with pytest.raises(WrongLog, match="not memory"):
            async with running(tmp_path, log=log, check_log=check_log):
                pytest.fail("it has started")

    async def test_keys_pass_after_a_restart_as_before(self, log: MemoryLog, tmp_path: Path) -> None:
        async with running(tmp_path, log=log) as api:
            living, revoked = await a_key(api), await a_key(api)
            async with api.client() as admin:
                await admin.delete(f"{KEYS}/{revoked['key_id']}")

        async with running(tmp_path, log=log) as api:
            assert await status(api, living["api_key"]) == 200
            assert await status(api, revoked["api_key"]) == 401


class TestPeppers:
    async def test_keys_pass_when_a_pepper_is_put_in_front(self, log: MemoryLog, tmp_path: Path) -> None:
        async with running(tmp_path, {"KEY_PEPPERS": OLD_PEPPER}, log=log) as api:
            key = await a_key(api)

        async with running(tmp_path, {"KEY_PEPPERS": f"{NEW_PEPPER},{OLD_PEPPER}"}, log=log) as api:
            assert await status(api, key["api_key"]) == 200
            assert api.metric("bcrypt_checks_total") == 0
            newer = await a_key(api)

        async with running(tmp_path, {"KEY_PEPPERS": f"{NEW_PEPPER},{OLD_PEPPER}"}, log=log) as api:
            assert await status(api, newer["api_key"]) == 200
            assert api.metric("unverifiable_keys") == 0

    async def test_keys_pass_through_bcrypt_once_when_their_pepper_is_gone(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with running(tmp_path, {"KEY_PEPPERS": OLD_PEPPER}, log=log) as api:
            key = await a_key(api)

        async with running(tmp_path / "other", {"KEY_PEPPERS": NEW_PEPPER}, log=log) as api:
            assert api.metric("unverifiable_keys") == 1
            assert [await status(api, key["api_key"]) for _ in range(5)] == [200] * 5
            assert api.metric("bcrypt_checks_total") == 1
            async with api.client() as admin:
                await admin.delete(f"{KEYS}/{key['key_id']}")
            assert await status(api, key["api_key"]) == 401


class TestLiving:
    @pytest.fixture
    def signals(self) -> Iterator[list[int]]:
        """The SIGTERMs that this process sends itself; a server would drain and stop."""
        received: list[int] = []

        def note(number: int, frame: FrameType | None) -> None:
            received.append(number)

        before = signal.signal(signal.SIGTERM, note)
        yield received
        signal.signal(signal.SIGTERM, before)

    async def test_a_follower_that_finds_another_log_ends_with_that_error(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        """From which its process tells the node that it has to end."""
        async with ended_by(WrongLog), running(tmp_path, log=log) as api:

            async def read(*_: object, **__: object) -> object:
                raise WrongLog("its head was deleted")

            api.reader.read = read  # type: ignore[method-assign, assignment]
            await append(log, a_key_created())
            await asyncio.wait([api.following], timeout=5)
        assert list(api.node.living()) == []

    async def test_a_worker_without_its_parent_stops_itself(
        self, tmp_path: Path, signals: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parent = Parent()
        monkeypatch.setattr(app, "WATCH_PARENT_SECONDS", 0.001)
        monkeypatch.setattr("multiprocessing.parent_process", lambda: parent)
        async with ended_by(RuntimeError), running(tmp_path):
            await eventually(lambda: parent.asked > 3)
            assert signals == []

            parent.lives = False
            await eventually(lambda: signals == [signal.SIGTERM])

    async def test_a_log_that_changes_later_is_told_by_ready_and_validation_goes_on(
        self, log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_watch, "CHECK_SECONDS", 0.001)
        problems: list[str] = []

        async def check_log(known: LogIdentity | None) -> LogIdentity:
            if problems:
                raise WrongLog(problems[0])
            return MEMORY_LOG

        async with running(tmp_path, log=log, check_log=check_log) as api, api.client(admin=False) as anyone:
            key = await a_key(api)
            problems.append("retention of a week")
            await until(anyone, log_is_ours=False)
            assert await status(api, key["api_key"]) == 200

            problems.clear()
            await until(anyone, log_is_ours=True)


class TestStopping:
    async def test_a_worker_and_the_follower_leave_their_seats(self, tmp_path: Path) -> None:
        async with running(tmp_path) as api:
            assert len(list(api.node.living())) == 2

        assert list(api.node.living()) == []


@asynccontextmanager
async def ended_by(error: type[Exception]) -> AsyncIterator[None]:
    """What runs within ends with that error, and not before its time."""
    with pytest.raises(error):
        yield


async def until(client: httpx.AsyncClient, *, log_is_ours: bool) -> None:
    """Return once /ready says so, which tells what it has found within a second."""
    async with asyncio.timeout(5):
        while (await client.get("/ready")).json()["checks"]["log"] is not log_is_ours:
            await asyncio.sleep(0.01)


class Parent:
    """As much of a parent process as a worker sees."""

    def __init__(self) -> None:
        self.lives = True
        self.asked = 0

    def is_alive(self) -> bool:
        self.asked += 1
        return self.lives
