"""A worker that runs out of something refuses what it can't do, and goes on."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.memory_log import MemoryLog
from services.api import app
from services.api.directory import lifecycle_follower
from services.api.directory.store_writer import StoreWriter
from services.api.errors import StoreUnavailable
from services.api.exhaustion import is_exhaustion
from services.api.node import Node
from tests.builders import a_key_created
from tests.unit.api.callers import KEYS, MINIMAL
from tests.unit.api.running import running
from tests.unit.api.workers import append, eventually, made

pytestmark = pytest.mark.anyio


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    "error",
    [
        os_error(errno.EMFILE),
        os_error(errno.ENFILE),
        os_error(errno.ENOSPC),
        os_error(errno.ENOMEM),
        MemoryError(),
        RuntimeError("can't start new thread"),
        ExceptionGroup("tasks", [ValueError(), MemoryError()]),
    ],
)
def test_what_the_system_lacks_now_may_be_there_later(error: Exception) -> None:
    assert is_exhaustion(error)
    wrapped = RuntimeError("what we were doing")
    wrapped.__cause__ = error
    assert is_exhaustion(wrapped)


@pytest.mark.parametrize("error", [ValueError(), os_error(errno.ENOENT), RuntimeError("another"), KeyError()])
def test_other_errors_are_no_exhaustion(error: Exception) -> None:
    assert not is_exhaustion(error)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


async def test_records_that_there_was_no_room_for_are_written_later(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reader hands each record out once: a revocation that is dropped would be dropped for good."""
    caplog.set_level("INFO")
    monkeypatch.setattr(lifecycle_follower, "EXHAUSTION_PAUSE_SECONDS", 0.001)
    async with running(tmp_path, log=log) as api:
        failures: list[Exception] = [MemoryError(), StoreUnavailable("no space left"), MemoryError()]
        apply = StoreWriter.apply

        def reluctant(*arguments: Any) -> object:
            if failures:
                raise failures.pop()
            return apply(*arguments)

        monkeypatch.setattr(StoreWriter, "apply", reluctant)
        created = [a_key_created() for _ in range(3)]
        await append(log, *created)
        await eventually(lambda: all(event.subject in api.state.directory for event in created))
    assert not failures
    assert caplog.text.count("wait to be written") == 1
    assert caplog.text.count("the store is written again") == 1


async def test_work_of_a_worker_that_ends_for_lack_of_resources_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "EXHAUSTION_PAUSE_SECONDS", 0.001)
    failures: list[Exception] = [os_error(errno.EMFILE), MemoryError()]
    goes_on = asyncio.Event()

    async def reluctant() -> None:
        if failures:
            raise failures.pop()
        goes_on.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(app, "give_memory_back", reluctant)
    async with running(tmp_path):
        await asyncio.wait_for(goes_on.wait(), 5)
    assert caplog.text.count("trying again") == 2


async def test_a_request_that_finds_nothing_left_is_to_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as api:

        async def create(*_: object) -> None:
            raise os_error(errno.EMFILE)

        monkeypatch.setattr(api.state.commands, "create", create)
        async with api.client() as admin:
            answer: httpx.Response = await admin.post(KEYS, json=MINIMAL)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "x-frame-options" in answer.headers


def test_looking_at_the_seats_of_a_node_takes_no_descriptor(tmp_path: Path) -> None:
    node = Node(made(tmp_path), 1)
    node.enter()
    Node(tmp_path, 1).enter()
    assert len(node.seats()) == 2
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open(tmp_path, os.O_RDONLY)
        assert len(node.seats()) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_seat_has_its_place_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    """Writing into a hole of a mapped file would kill the process once the disk is full."""
    Node(made(tmp_path), 100_000).enter()
    (seat,) = tmp_path.iterdir()
    assert seat.stat().st_blocks * 512 >= 800_000
