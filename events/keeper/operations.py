"""/health, /ready and /metrics of a process that keeps a schema."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from events.errors import SettingsError
from events.keeper.metrics import CONTENT_TYPE


def operations(
    checks: Callable[[], Awaitable[Mapping[str, bool]]], metrics: Callable[[], Awaitable[bytes]]
) -> Starlette:
    """The routes. `checks` has each dependency and whether it is there, `metrics` Prometheus' text."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        found = dict(await checks())
        if all(found.values()):
            return JSONResponse({"status": "ready", "checks": found})
        return JSONResponse({"status": "not ready", "checks": found}, status_code=503)

    async def show_metrics(_: Request) -> Response:
        return Response(await metrics(), media_type=CONTENT_TYPE)

    return Starlette(
        routes=[Route("/health", health), Route("/ready", ready), Route("/metrics", show_metrics)]
    )


async def serve(app: Starlette, host: str, port: int) -> None:
    """Answer requests until cancelled. Raises `SettingsError` when the port is taken."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    with _listen(host, port) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are the process's own affair


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SettingsError([f"METRICS_PORT: cannot listen on {host}:{port}: {error.strerror}"]) from None
