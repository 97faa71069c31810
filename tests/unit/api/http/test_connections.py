"""Connections are limited in number and in the time that they may take."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from uvicorn.server import ServerState

from services.api.http.connections import (
    RESERVED_DESCRIPTORS,
    ConnectionLimits,
    connections_within,
    make_room,
    raise_descriptor_limit,
)
from services.api.http.protocol import LimitedHttpProtocol
from tests.unit.api.http.served import Asked, Served

pytestmark = pytest.mark.anyio

SHORT = ConnectionLimits(head_seconds=0.01, body_seconds=0.01)
REQUEST = b"GET /x HTTP/1.1\r\n\r\n"


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"POST /x HT", id="request line"),
        pytest.param(b"POST /x HTTP/1.1\r\nHost: a\r\n", id="head"),
        pytest.param(b"\r\n", id="empty line"),
        pytest.param(b"POST /x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", id="body"),
        pytest.param(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", id="trailers"),
        pytest.param(REQUEST + b"POST /y HT", id="the next request"),
    ],
)
async def test_a_request_that_is_not_finished_in_time_is_refused(begun: bytes) -> None:
    asked = Asked()
    served = Served(asked, SHORT)
    await served.ask(begun) if begun.startswith(REQUEST) else served.protocol.data_received(begun)
    await eventually(served.wire.is_closing)
    assert served.wire.statuses == [*[200] * len(asked.requests), 408]
    assert len(asked.requests) == begun.startswith(REQUEST)


async def test_a_body_has_its_own_time() -> None:
    """A head that took nearly all of its time takes nothing from the body."""
    served = Served(Asked(), ConnectionLimits(head_seconds=0.01, body_seconds=60))
    served.protocol.data_received(b"POST /x HTTP/1.1\r\n")
    served.protocol.data_received(b"Content-Length: 1\r\n\r\n")
    await asyncio.sleep(0.05)
    assert not served.wire.is_closing()
    await served.ask(b"x")
    assert served.wire.statuses == [200]


async def test_a_finished_request_has_no_deadline_any_more() -> None:
    served = Served(Asked(), SHORT)
    await served.ask(b"POST /x HTTP/1.1\r\nContent-Length: 1\r\n", b"\r\n", b"x")
    await asyncio.sleep(0.05)
    assert (served.wire.statuses, served.wire.is_closing()) == ([200], False)


async def test_a_caller_that_is_made_to_wait_is_not_late() -> None:
    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    served = Served(busy, SHORT)
    served.protocol.data_received(b"POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\n")
    served.protocol.flow.pause_reading()
    await asyncio.sleep(0.05)
    assert not served.wire.is_closing()
    served.protocol.flow.resume_reading()
    await eventually(served.wire.is_closing)
    for task in served.state.tasks:
        task.cancel()


async def test_a_connection_that_never_asks_is_closed_like_one_that_asks_nothing_more() -> None:
    fresh = Served(Asked(), ConnectionLimits(keep_alive_seconds=0.01), is_fresh=True)
    kept_alive = Served(Asked(), timeout_keep_alive=0.01)
    await kept_alive.ask(REQUEST)
    await eventually(lambda: fresh.wire.is_closing() and kept_alive.wire.is_closing())
    assert fresh.wire.written == b""


async def test_an_answer_that_nobody_reads_does_not_keep_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.api.http.protocol.LINGER_SECONDS", 0.01)
    served = Served(Asked())
    await served.ask(b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert served.wire.is_closing()
    await eventually(lambda: served.wire.is_aborted)


async def test_the_server_that_stops_does_not_wait_for_a_half_sent_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.api.http.protocol.STOPPING_SECONDS", 0.01)
    served = Served(Asked())
    served.protocol.data_received(b"POST /x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
    served.protocol.shutdown()
    await eventually(served.wire.is_closing)


async def test_a_fresh_connection_is_handed_over_with_its_first_byte() -> None:
    asked = Asked()
    served = Served(asked, is_fresh=True)
    connections = served.state.connections
    assert not isinstance(served.wire.protocol, LimitedHttpProtocol)
    await served.ask(REQUEST[:1], REQUEST[1:])
    assert isinstance(served.wire.protocol, LimitedHttpProtocol)
    assert (served.wire.statuses, connections) == ([200], {served.protocol})
    served.protocol.connection_lost(None)
    assert not connections


async def test_a_fresh_connection_ends_with_the_server() -> None:
    served = Served(Asked(), is_fresh=True)
    served.protocol.shutdown()
    assert served.wire.is_closing()


class Node:
    """Connections of one worker."""

    def __init__(self, most: int) -> None:
        self._state = ServerState()
        self._limits = ConnectionLimits(connections=most)
        self.app = Asked()

    def connect(self) -> Served:
        return Served(self.app, self._limits, self._state, is_fresh=True)


async def test_a_quiet_connection_gives_way_to_a_new_one() -> None:
    node = Node(most=2)
    asked, silent = node.connect(), node.connect()
    await asked.ask(REQUEST)
    newcomer = node.connect()

    assert (silent.wire.is_aborted, asked.wire.is_aborted) == (True, False)
    await newcomer.ask(REQUEST)
    assert newcomer.wire.statuses == [200]


async def test_a_half_sent_request_gives_way_where_nobody_is_quiet() -> None:
    node = Node(most=1)
    slow = node.connect()
    slow.protocol.data_received(b"POST /x HT")
    newcomer = node.connect()
    await newcomer.ask(REQUEST)
    assert (slow.wire.is_aborted, newcomer.wire.statuses) == (True, [200])


async def test_nobody_loses_an_answer_to_a_new_connection() -> None:
    node = Node(most=1)
    waited_for = node.connect()
    waited_for.protocol.data_received(REQUEST)
    newcomer = node.connect()
    assert newcomer.wire.statuses == [503]
    assert b"retry-after: 1" in newcomer.wire.written
    assert newcomer.wire.is_closing()
    await waited_for.ask()
    assert waited_for.wire.statuses == [200]


@dataclass
class Other:
    quiet_since: float | None = None
    late_at: float | None = None
    has_asked: bool = True
    closed: list[Any] = field(default_factory=list)

    def abort(self) -> None:
        self.closed.append(self)


def test_those_that_never_asked_go_first_then_the_longest_quiet() -> None:
    closed: list[Any] = []
    others = [
        Other(quiet_since=1.0, closed=closed),
        Other(quiet_since=5.0, has_asked=False, closed=closed),
        Other(quiet_since=3.0, closed=closed),
        Other(late_at=0.5, closed=closed),
        Other(closed=closed),
    ]
    for _ in range(4):
        make_room([other for other in others if other not in closed], limit=5)
    assert closed == [others[1], others[0], others[2], others[3]]


def test_room_is_made_for_several_at_once() -> None:
    closed: list[Any] = []
    assert make_room([Other(quiet_since=n + 1.0, closed=closed) for n in range(100)], limit=100) == 5
    assert len(closed) == 5


def test_a_process_has_as_many_descriptors_as_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        allowed = raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, before[1])
        assert allowed > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_leave_descriptors_for_everything_else() -> None:
    assert connections_within(1024, 10_000) == 1024 - RESERVED_DESCRIPTORS
    assert connections_within(100_000, 10_000) == 10_000
