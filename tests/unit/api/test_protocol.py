"""What the server's protocol counts as the head of a request, packet by packet."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from services.api.edge import MAX_BODY_BYTES
from services.api.protocol import MAX_HEAD_BYTES, GuardedProtocol

pytestmark = pytest.mark.anyio

TOO_LARGE = b"Request headers too large"
NEXT = b"GET /next HTTP/1.1\r\nHost: auth.test\r\n"


class Wire(asyncio.Transport):
    """Keeps what the server writes."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def protocol(wire: Wire) -> GuardedProtocol:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none")
    config.load()
    protocol = GuardedProtocol(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(wire)
    return protocol


def with_body(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: auth.test\r\nContent-Length: %d\r\n\r\n" % length + b" " * length


async def test_a_request_that_follows_a_large_body_in_one_packet_is_not_charged_with_it(
    protocol: GuardedProtocol, wire: Wire
) -> None:
    protocol.data_received(with_body(MAX_BODY_BYTES) + NEXT)
    assert TOO_LARGE not in wire.written


async def test_a_head_that_does_not_end_is_refused_once(protocol: GuardedProtocol, wire: Wire) -> None:
    protocol.data_received(with_body(MAX_BODY_BYTES) + NEXT + b"X-Endless: ")
    protocol.data_received(b"x" * MAX_HEAD_BYTES)
    assert TOO_LARGE not in wire.written
    protocol.data_received(b"x")
    protocol.data_received(b"x")
    assert wire.written.count(TOO_LARGE) == 1
    assert wire.is_closing()


async def test_the_packet_that_a_head_begins_in_is_charged(protocol: GuardedProtocol, wire: Wire) -> None:
    protocol.data_received(NEXT + b"X-Endless: " + b"x" * MAX_HEAD_BYTES)
    assert wire.written.count(TOO_LARGE) == 1


async def test_each_request_has_the_whole_limit(protocol: GuardedProtocol, wire: Wire) -> None:
    head = b"GET / HTTP/1.1\r\nHost: auth.test\r\nX-Long: "
    for _ in range(3):
        protocol.data_received(head)
        protocol.data_received(b"x" * (MAX_HEAD_BYTES - len(head)))
        protocol.data_received(b"\r\n\r\n")
    assert TOO_LARGE not in wire.written
