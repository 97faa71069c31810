"""A connection without a network: what it writes, and an application behind it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from services.api.http.connections import DEFAULT_LIMITS, ConnectionLimits
from services.api.http.fresh_connection import FreshConnection
from services.api.http.protocol import LimitedHttpProtocol
from services.api.http.responses import parse_header_lines, write_prebuilt

LINES = b"content-type: application/json\r\ncontent-length: 15\r\nx-frame-options: DENY\r\n"
BODY = b'{"is_valid":42}'


class Wire(asyncio.Transport):
    """Keeps what the server writes."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.is_aborted = False
        self.reads = True
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self._is_closing = self.is_aborted = True

    def is_closing(self) -> bool:
        return self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    @property
    def statuses(self) -> list[int]:
        """Of the answers that were written, in order."""
        return [int(line.split()[0]) for line in self.written.split(b"HTTP/1.1 ")[1:]]


def answering(status: int, written: list[bool] | None) -> ASGIApp:
    """Answers at once where it can, and notes in `written` whether it could. None: as ASGI has it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        if written is not None:
            written.append(write_prebuilt(scope, status, LINES, BODY))
            if written[-1]:
                return
        await send({"type": "http.response.start", "status": status, "headers": parse_header_lines(LINES)})
        await send({"type": "http.response.body", "body": BODY})

    return app


class Served:
    """A connection over which an application was asked, and what came of it."""

    def __init__(
        self,
        app: ASGIApp,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        state: ServerState | None = None,
        *,
        is_fresh: bool = False,
        **options: Any,
    ) -> None:
        """`is_fresh`: nothing has come over it yet, as when somebody connects."""
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", **options)
        config.load()
        self.state = state or ServerState()
        self.state.default_headers = [(b"date", b"Sun, 01 Mar 2026 12:00:00 GMT"), (b"x-more", b"1")]
        self.wire = Wire()
        protocol = FreshConnection if is_fresh else LimitedHttpProtocol
        first = protocol(config=config, server_state=self.state, app_state={}, limits=limits)
        if isinstance(first, LimitedHttpProtocol):
            first.access_log = False
        self.wire.set_protocol(first)
        first.connection_made(self.wire)

    @property
    def protocol(self) -> LimitedHttpProtocol:
        """Who has the connection now: of a fresh one, somebody with no more than asyncio's methods."""
        return cast(LimitedHttpProtocol, self.wire.protocol)

    async def ask(self, *packets: bytes) -> None:
        for packet in packets:
            self.protocol.data_received(packet)
        while self.state.tasks:
            await asyncio.sleep(0)


class Asked:
    """An application that reads each request to its end and notes method, path, headers and body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[bytes, bytes], bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, has_more = b"", True
        while has_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            has_more = message["more_body"]
        self.requests.append((scope["method"], scope["path"], dict(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 200, "headers": parse_header_lines(LINES)})
        await send({"type": "http.response.body", "body": BODY})
