"""HTTP/1.1 as uvicorn speaks it, with limits on what a caller may send and on the time that it may take.

A message is read to its end or refused: offers of another protocol are passed over, trailers are dropped, and
after a refusal no further byte is looked at. Prebuilt responses are written as they stand, to the byte what
uvicorn would have written.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from http import HTTPStatus
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.api.http.connections import DEFAULT_LIMITS, ConnectionLimits
from services.api.http.middleware import ANSWER_HEADERS, MAX_BODY_BYTES
from services.api.http.request_ids import RequestIds, given_in
from services.api.http.responses import EXTENSION, Header, header_lines

#: All of a request that is not body: request line, headers, the frames of chunks, trailers.
MAX_HEAD_BYTES = MAX_BODY_BYTES
MAX_HEADERS = 128
#: So much is parsed at once. The rest waits while requests are queued, since each of them takes memory.
SLICE_BYTES = 16 * 1024
#: How long a caller has to read the last of an answer before the connection ends.
LINGER_SECONDS = 5.0
#: How long a half-sent request has once the server stops.
STOPPING_SECONDS = 2.0

INVALID = "Invalid HTTP request received."
TOO_LARGE = "Request headers too large"
TOO_SLOW = "The request was not finished in time"


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. A refusal looks like every other answer, and ends the connection."""

    def __init__(self, *arguments: Any, limits: ConnectionLimits = DEFAULT_LIMITS, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._is_refused = False
        self._refusal = b""
        self._unparsed = b""
        self._is_reading = False
        self._is_in_head = True
        self._has_ended = False
        self._is_upgrade_offered = False
        #: What has come of the message that is being read and is not its body.
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        #: The request that was still being answered when the latest one began, or was refused.
        self._earlier: RequestResponseCycle | None = None
        # The same for every request: one that held its request would leave it to the garbage collector.
        self._extensions: dict[str, Any] = {EXTENSION: self._write}
        self._server_headers: list[Header] | None = None
        self._server_lines = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._unparsed = b""
        self._extensions.clear()  # it leads back here, and would leave us to the garbage collector
        if self._earlier is not None and not self._earlier.response_complete:
            self._earlier.disconnected = True
            self._earlier.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if len(data) <= SLICE_BYTES and not self._unparsed:
            self._feed(data)
        else:
            self._unparsed += data
            self._feed_slices()

    # What has to be known of a connection to choose who gives way; see `Connection`.

    @property
    def quiet_since(self) -> float | None:
        timer = self.timeout_keep_alive_task
        return None if timer is None else timer.when() - self.timeout_keep_alive

    @property
    def late_at(self) -> float | None:
        return None if self._timer is None else self._timer.when()

    @property
    def has_asked(self) -> bool:
        return self.cycle is not None

    def abort(self) -> None:
        self.transport.abort()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        self._is_reading = self._is_in_head = True
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise _TooManyHeaders
        if self.parser.should_upgrade():
            self._is_upgrade_offered = True
            super().on_headers_complete()
            return
        self._is_in_head = False
        if self._timer is not None:
            self._stop_timer()  # the body has a time of its own
        earlier = self.cycle
        self._earlier = None if earlier is None or earlier.response_complete else earlier
        super().on_headers_complete()
        # Trailers come as headers do. Nothing behind the body is a header, so they go nowhere.
        self.headers = []

    def on_message_complete(self) -> None:
        if self._is_upgrade_offered:
            return
        self._has_ended = True
        self._is_reading = False
        self._head_bytes = 0
        if self._timer is not None:
            self._stop_timer()
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        """uvicorn then leaves the message alone, and the parser stops behind its head."""
        return True

    # Parsing

    def _feed_slices(self) -> None:
        """Parse what has come as long as no request waits for its turn."""
        received, at = self._unparsed, 0
        while at < len(received) and not self.pipeline and not self._is_refused:
            self._feed(received[at : at + SLICE_BYTES])
            at += SLICE_BYTES
        self._unparsed = b"" if self._is_refused else received[at:]
        vars(self.flow).pop("resume_reading", None)
        if self._unparsed:
            self.flow.pause_reading()
            self.flow.resume_reading = _not_yet  # type: ignore[method-assign]
        else:
            self.flow.resume_reading()

    def _feed(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._has_ended = False
        is_in_body = self._is_reading and not self._is_in_head
        body_before = len(self.cycle.body) if is_in_body else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._pass_over_upgrade(data[offer.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, INVALID)
            return
        if not self._has_ended:
            self._charge(len(data), body_before)
        elif not self._is_reading:
            return
        # What ends one message and begins the next is charged to neither: it is one slice at most.
        if self._timer is None and not self._is_refused:
            self._start_timer(self._limits.head_seconds if self._is_in_head else self._limits.body_seconds)

    def _charge(self, received: int, body_before: int) -> None:
        """Count what is not body: also what comes after the answer, since nobody reads it any more."""
        if self._is_in_head:
            self._head_bytes += received
        else:
            self._head_bytes += received - (len(self.cycle.body) - body_before)
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers or ()) > MAX_HEADERS:
            self._refuse(HTTPStatus.BAD_REQUEST, TOO_LARGE)

    def _pass_over_upgrade(self, rest: bytes) -> None:
        """Read the message as if nothing had been offered.

        A client may offer HTTP/2 or a websocket beside any request. The parser would take its body for bytes
        of the other protocol, and what follows for a request of its own. So another parser reads the message
        once more, without the offer.
        """
        self._is_upgrade_offered = False
        if self.scope["method"] == "CONNECT":
            self._refuse(HTTPStatus.BAD_REQUEST, INVALID)
            return
        request_line = (self.scope["method"].encode(), self.url, self.scope["http_version"].encode())
        kept = [header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._head_bytes = 0
        self._feed(b"%s %s HTTP/%s\r\n%s\r\n" % (*request_line, header_lines(kept)) + rest)

    # Ending

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._hang_up()
        elif self._is_refused and self._earlier is not None and self._earlier.response_complete:
            self.transport.write(self._refusal)
            self._hang_up()
        elif self._unparsed:
            self.loop.call_soon(self._feed_slices)

    def shutdown(self) -> None:
        super().shutdown()
        if self._timer is not None and not self.transport.is_closing():
            self._stop_timer()
            self._start_timer(STOPPING_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        self._hang_up()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer and hang up: where this message ends is not known, or not worth knowing."""
        self._is_refused = True
        name = RequestIds().headers(given_in(self.scope["headers"] if self.scope else ()))
        self._refusal = refusal(status, detail, name)
        self._unparsed = b""
        self._stop_timer()
        is_in_body = self._is_reading and not self._is_in_head
        unfinished = self.cycle if is_in_body else None
        before = self._earlier if is_in_body else self.cycle
        if before is not None and not before.response_complete:
            # Whole requests came before this one, and are answered before it.
            self._earlier = before
            if self.pipeline and self.pipeline[0][0] is unfinished:
                self.pipeline.popleft()
            return
        if unfinished is None or not unfinished.response_started:
            self.transport.write(self._refusal)
        if unfinished is not None:
            unfinished.disconnected = True
            unfinished.message_event.set()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close, and end the connection when the caller does not read what is still on its way."""
        self._stop_timer()
        self.transport.close()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _start_timer(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            # We have made the caller wait, not the other way round.
            self._start_timer(self._limits.body_seconds)
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, TOO_SLOW)

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


class _TooManyHeaders(Exception):
    """Raised in a callback, so that the parser stops."""


def _not_yet() -> None:
    """In the place of `resume_reading` while there are bytes at hand that nobody has parsed yet."""


def refusal(status: HTTPStatus, detail: str, more: Sequence[Header]) -> bytes:
    """An answer to what is no request, or comes at a bad time; the connection ends with it."""
    body = orjson.dumps({"detail": detail})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        *more,
        *ANSWER_HEADERS,
    ]
    return STATUS_LINE[status] + header_lines(headers) + b"\r\n" + body
