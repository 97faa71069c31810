"""A connection over which nothing has come yet: little, so that ten thousand of them are little too."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from services.api.http.connections import DEFAULT_LIMITS, Connection, ConnectionLimits, make_room
from services.api.http.protocol import LimitedHttpProtocol, refusal
from services.api.http.request_ids import RequestIds

TOO_MANY = "Too many connections, try again"


class FreshConnection(asyncio.Protocol):
    """Waits for the first byte, and hands the connection over to `LimitedHttpProtocol` then.

    That one has a parser and some forty attributes: callers who only connect are not to cost as much. Who
    sends nothing may wait as long as who sends nothing more.
    """

    __slots__ = ("_app_state", "_config", "_limits", "_loop", "_state", "_timer", "_transport")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        limits: ConnectionLimits = DEFAULT_LIMITS,
    ) -> None:
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._limits = limits
        self._loop = _loop or asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connections = cast("set[Connection]", self._state.connections)
        connections.add(self)
        if len(connections) > self._limits.connections and not make_room(
            connections - {self}, self._limits.connections
        ):
            headers = [(b"retry-after", b"1"), *RequestIds().headers(None)]
            self._transport.write(refusal(HTTPStatus.SERVICE_UNAVAILABLE, TOO_MANY, headers))
            self._transport.close()
            return
        self._timer = self._loop.call_later(self._limits.keep_alive_seconds, self._transport.close)

    def data_received(self, data: bytes) -> None:
        self._leave()
        protocol = LimitedHttpProtocol(
            config=self._config,
            server_state=self._state,
            app_state=self._app_state,
            _loop=self._loop,
            limits=self._limits,
        )
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def shutdown(self) -> None:
        """The server stops."""
        self._transport.close()

    # See `Connection`.

    @property
    def quiet_since(self) -> float | None:
        return None if self._timer is None else self._timer.when() - self._limits.keep_alive_seconds

    @property
    def late_at(self) -> float | None:
        return None

    @property
    def has_asked(self) -> bool:
        return False

    def abort(self) -> None:
        self._transport.abort()

    def _leave(self) -> None:
        cast("set[Connection]", self._state.connections).discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
