"""What the server's protocol counts as the head of a request, and what it writes itself."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence

import pytest
from starlette.types import Receive, Scope, Send

from services.api.http.middleware import MAX_BODY_BYTES
from services.api.http.protocol import MAX_HEAD_BYTES, LimitedHttpProtocol
from services.api.http.responses import write_prebuilt
from tests.unit.api.http.served import BODY, LINES, Served, Wire, answering

pytestmark = pytest.mark.anyio

TOO_LARGE = b"Request headers too large"
NEXT = b"GET /next HTTP/1.1\r\nHost: auth.test\r\n"


@pytest.fixture
async def served() -> Served:
    return Served(answering(200, []))


@pytest.fixture
async def wire(served: Served) -> Wire:
    return served.wire


@pytest.fixture
async def protocol(served: Served) -> LimitedHttpProtocol:
    return served.protocol


def with_body(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: auth.test\r\nContent-Length: %d\r\n\r\n" % length + b" " * length


async def test_a_request_that_follows_a_large_body_in_one_packet_is_not_charged_with_it(
    protocol: LimitedHttpProtocol, wire: Wire
) -> None:
    protocol.data_received(with_body(MAX_BODY_BYTES) + NEXT)
    assert TOO_LARGE not in wire.written


async def test_a_head_that_does_not_end_is_refused_once(protocol: LimitedHttpProtocol, wire: Wire) -> None:
    protocol.data_received(with_body(MAX_BODY_BYTES) + NEXT + b"X-Endless: ")
    protocol.data_received(b"x" * MAX_HEAD_BYTES)
    assert TOO_LARGE not in wire.written
    protocol.data_received(b"x")
    protocol.data_received(b"x")
    while not wire.is_closing():  # the request before it is answered first
        await asyncio.sleep(0)
    assert wire.written.count(TOO_LARGE) == 1


async def test_the_packet_that_a_head_begins_in_is_charged(protocol: LimitedHttpProtocol, wire: Wire) -> None:
    protocol.data_received(NEXT + b"X-Endless: " + b"x" * MAX_HEAD_BYTES)
    assert wire.written.count(TOO_LARGE) == 1


async def test_each_request_has_the_whole_limit(protocol: LimitedHttpProtocol, wire: Wire) -> None:
    head = b"GET / HTTP/1.1\r\nHost: auth.test\r\nX-Long: "
    for _ in range(3):
        protocol.data_received(head)
        protocol.data_received(b"x" * (MAX_HEAD_BYTES - len(head)))
        protocol.data_received(b"\r\n\r\n")
    assert TOO_LARGE not in wire.written


POST = b"POST / HTTP/1.1\r\nHost: auth.test\r\nContent-Length: 2\r\n%s\r\n{}"
OLD_POST = POST.replace(b"HTTP/1.1", b"HTTP/1.0")


@pytest.mark.parametrize("status", [200, 400, 401, 429, 503])
@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([POST % b""], id="kept alive"),
        pytest.param([POST % b"Connection: close\r\n"], id="closed"),
        pytest.param([OLD_POST % b""], id="HTTP/1.0"),
        pytest.param([OLD_POST % b"Connection: keep-alive\r\n"], id="HTTP/1.0 kept alive"),
        pytest.param([(POST % b"")[:-1], b"}"], id="in two packets"),
        pytest.param([POST % b"" * 3], id="pipelined"),
        pytest.param([POST % b"", POST % b"Connection: close\r\n"], id="pipelined and closed"),
        pytest.param([POST % b"Expect: 100-continue\r\n"], id="100-continue"),
    ],
)
async def test_a_rendered_answer_is_to_the_byte_what_uvicorn_writes(
    packets: Sequence[bytes], status: int
) -> None:
    written: list[bool] = []
    ours, uvicorns = Served(answering(status, written)), Served(answering(status, None))

    await ours.ask(*packets)
    await uvicorns.ask(*packets)

    assert ours.wire.written == uvicorns.wire.written
    assert ours.wire.written.endswith(BODY)
    assert ours.wire.is_closing() == uvicorns.wire.is_closing()
    assert ours.state.total_requests == uvicorns.state.total_requests == len(written)
    assert written[-1]


async def test_a_rendered_answer_has_the_date_of_its_second() -> None:
    served = Served(answering(200, []))
    await served.ask(POST % b"")
    served.state.default_headers = [(b"date", b"Sun, 01 Mar 2026 12:00:01 GMT")]
    await served.ask(POST % b"")

    assert served.wire.written.count(b"12:00:00 GMT") == served.wire.written.count(b"12:00:01 GMT") == 1


async def test_the_server_that_stops_hangs_up_after_the_answer() -> None:
    served = Served(answering(200, []))
    served.protocol.data_received(POST % b"")
    served.protocol.shutdown()
    await served.ask()

    assert b"connection: close\r\n\r\n" + BODY in served.wire.written
    assert served.wire.is_closing()


async def test_nothing_is_written_at_once_to_a_caller_that_reads_too_slowly() -> None:
    """Where `send` would wait, waiting is left to it."""
    written: list[bool] = []
    served = Served(answering(200, written))
    served.protocol.pause_writing()

    served.protocol.data_received(POST % b"")
    while not written:
        await asyncio.sleep(0)
    assert (written, served.wire.written) == ([False], b"")

    served.protocol.resume_writing()
    await served.ask()
    assert served.wire.written.endswith(BODY)


async def test_nothing_is_written_at_once_to_a_caller_that_has_hung_up() -> None:
    written: list[bool] = []
    served = Served(answering(200, written))
    served.protocol.data_received(POST % b"")
    served.protocol.connection_lost(None)

    await served.ask()

    assert (written, served.wire.written) == ([False], b"")


async def test_nothing_is_written_at_once_where_uvicorn_would_log_it() -> None:
    written: list[bool] = []
    served = Served(answering(200, written))
    served.protocol.access_log = True

    await served.ask(POST % b"")

    assert written == [False]


async def test_an_answer_is_written_once() -> None:
    async def twice(scope: Scope, receive: Receive, send: Send) -> None:
        written.extend(write_prebuilt(scope, 200, LINES, BODY) for _ in range(2))

    written: list[bool] = []
    served = Served(twice)

    await served.ask(POST % b"")

    assert (written, served.wire.written.count(BODY)) == ([True, False], 1)


async def test_a_request_that_was_answered_is_freed_without_the_garbage_collector() -> None:
    """Its scope must not lead back to it: collecting a cycle a request would cost a tenth of the time."""
    served = Served(answering(200, []))
    await served.ask(POST % b"")
    answered = weakref.ref(served.protocol.cycle)

    gc.disable()
    try:
        await served.ask(POST % b"")
        assert answered() is None
    finally:
        gc.enable()
