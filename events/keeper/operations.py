"""/health, /ready and /metrics of a process, on a port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from events.errors import SettingsError
from events.keeper.metrics import CONTENT_TYPE
from events.remembered import Remembered


def operations(
    checks: Callable[[], Awaitable[Mapping[str, bool]]],
    metrics: Callable[[], Awaitable[bytes]],
    is_healthy: Callable[[], bool] = lambda: True,
) -> Starlette:
    """The routes. `checks` has each dependency and whether it is there, `metrics` Prometheus' text.

    Both are asked once a second at most, however many ask here.
    """
    recent_checks, recent_metrics = Remembered(checks), Remembered(metrics)

    async def health(_: Request) -> Response:
        if is_healthy():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable"}, status_code=503)

    async def ready(_: Request) -> Response:
        found = dict(await recent_checks.get())
        if all(found.values()):
            return JSONResponse({"status": "ready", "checks": found})
        return JSONResponse({"status": "not ready", "checks": found}, status_code=503)

    async def show_metrics(_: Request) -> Response:
        return Response(await recent_metrics.get(), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[Route("/health", health), Route("/ready", ready), Route("/metrics", show_metrics)]
    )


async def serve(app: ASGIApp, listener: socket.socket, **options: Any) -> None:
    """Answer requests on a bound socket until cancelled; `options` are uvicorn's."""
    config = uvicorn.Config(
        app,
        **{
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "timeout_graceful_shutdown": 1,
            **options,
            "lifespan": "off",
        },
    )
    server = _Server(config)
    with listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving


def bind(setting: str, host: str, port: int) -> socket.socket:
    """A socket that does not listen yet, so that nobody waits before there is somebody to answer.

    Raises `SettingsError` naming the setting when the port is taken or the address is not ours.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError([f"{setting}: cannot listen on {host}:{port}: {error.strerror}"]) from None
    return listener


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are the process's own affair
