"""HTTP/1.1 as uvicorn speaks it, with a limit on headers and refusals that look like every other answer.

Answers that are rendered already are written as they stand, to the byte what uvicorn would have written.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.api.http.middleware import MAX_BODY_BYTES, SECURITY_HEADERS
from services.api.http.responses import EXTENSION, Header, header_lines

#: Request line and headers together, over however many packets. As much as a body may have.
MAX_HEAD_BYTES = MAX_BODY_BYTES


class LimitedHttpProtocol(HttpToolsProtocol):
    """Refuses what is no HTTP request, or a request whose headers don't end: uvicorn would keep them all."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._is_in_head = True
        self._has_request_ended = False
        # The same for every request: one that held its request would leave it to the garbage collector.
        self._extensions: dict[str, Any] = {EXTENSION: self._write}
        self._server_headers: list[Header] | None = None
        self._server_lines = b""

    def data_received(self, data: bytes) -> None:
        self._has_request_ended = False
        super().data_received(data)
        # A packet that ends one request and begins another may hold a whole body: it is not charged.
        if self._is_in_head and not self._has_request_ended:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request headers too large")

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._has_request_ended = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer and hang up: where the request begins and ends is not known any more."""
        body = orjson.dumps({"detail": msg})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *SECURITY_HEADERS,
        ]
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%s\r\n%s" % (header_lines(headers), body))
        self.transport.close()

    def _write(self, scope: MutableMapping[str, Any], status: int, lines: bytes, body: bytes) -> bool:
        """A `Write`: what two calls of uvicorn's `send` do, where nothing is out of the ordinary."""
        cycle = self.cycle
        # Another scope: others were sent before this one was answered, and wait for `send`.
        if cycle.scope is not scope or cycle.response_started or cycle.disconnected:
            return False
        if cycle.flow.write_paused or cycle.access_log:
            return False
        # uvicorn makes a new list with every second's date.
        if cycle.default_headers is not self._server_headers:
            self._server_headers = cycle.default_headers
            self._server_lines = header_lines(cycle.default_headers)
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join((STATUS_LINE[status], self._server_lines, lines, end, body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True
