"""HTTP/1.1 as uvicorn speaks it, with a limit on headers and refusals that look like every other answer."""

from __future__ import annotations

from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.api.edge import MAX_BODY_BYTES, SECURITY_HEADERS

#: Request line and headers together, over however many packets. As much as a body may have.
MAX_HEAD_BYTES = MAX_BODY_BYTES


class GuardedProtocol(HttpToolsProtocol):
    """Refuses what is no HTTP request, or a request whose headers don't end: uvicorn would keep them all."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._is_in_head = True
        self._has_request_ended = False

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
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%s\r\n%s" % (lines, body))
        self.transport.close()
