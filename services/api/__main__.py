"""`hokusai-auth api`: environment -> settings -> workers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from events.errors import LogUnavailable, SettingsError, WrongLog
from events.log_identity import check_log
from events.waiting import wait_for
from services.api.app import create_app
from services.api.health import confirm_log
from services.api.http.connections import (
    DEFAULT_LIMITS,
    ConnectionLimits,
    connections_within,
    raise_descriptor_limit,
)
from services.api.http.protocol import LimitedHttpProtocol
from services.api.read_models import PostgresReadModels
from services.api.settings import ApiSettings

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 6
FAILED = 1
REFUSED = 2


def main(host: str, port: int, workers: int, environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT. 0: stopped cleanly; 2: refused to start, stderr says why in a sentence.

    1: could not go on; 3: a worker failed to start. The log says why, and a restart may help.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = ApiSettings.from_environment(environment)
        _configure_logging(settings)
        asyncio.run(_refuse_another_log(settings))
    except SettingsError as error:
        return _refuse("bad settings: " + "; ".join(error.problems))
    except WrongLog as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return 0
    limits = _connection_limits(settings)
    with tempfile.TemporaryDirectory(prefix="hokusai-node-") as folder:
        return _serve(settings, limits, Path(folder), host, port, workers)


def server_options(limits: ConnectionLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """How uvicorn is to serve the api, whatever else it is told; what is measured against it, likewise."""
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "http": functools.partial(LimitedHttpProtocol, limits=limits),
        "timeout_keep_alive": limits.keep_alive_seconds,
        # An upgrade is one more ordinary request to refuse; uvicorn would log its whole URL.
        "ws": "none",
        "lifespan": "on",
    }


def _connection_limits(settings: ApiSettings) -> ConnectionLimits:
    descriptors = raise_descriptor_limit()
    connections = connections_within(descriptors, settings.max_connections)
    if connections < settings.max_connections:
        logger.warning(
            "a worker holds %d connections at most, not %d: the system allows it %d open files (ulimit -n)",
            connections,
            settings.max_connections,
            descriptors,
        )
    return ConnectionLimits(
        connections,
        settings.keep_alive_seconds,
        settings.request_head_seconds,
        settings.request_body_seconds,
    )


def _serve(
    settings: ApiSettings, limits: ConnectionLimits, folder: Path, host: str, port: int, workers: int
) -> int:
    config = uvicorn.Config(
        functools.partial(_worker, settings, folder),
        factory=True,
        host=host,
        port=port,
        workers=workers,
        **server_options(limits),
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = uvicorn.Server(config)
    if workers == 1:
        # uvicorn raises the signal again after draining; by then there is nothing left to stop.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            return STARTUP_FAILURE
        # A lifespan that ends with an error is that of a worker that stopped because it could not go on.
        return FAILED if server.lifespan.shutdown_failed else 0
    supervisor = Multiprocess(config, sockets=[config.bind_socket()])
    supervisor.run()
    failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if failed else 0


def _worker(settings: ApiSettings, folder: Path) -> ASGIApp:
    """The application of one worker; where there are several, each is a process of its own."""
    _configure_logging(settings)
    return create_app(settings, folder)


def _configure_logging(settings: ApiSettings) -> None:
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)


async def _refuse_another_log(settings: ApiSettings) -> None:
    """Raise `WrongLog` before any worker is started; wait for Kafka, but not for Postgres."""
    read_models = PostgresReadModels(settings.database_url, settings.lifecycle.name)
    await read_models.open()
    try:
        await wait_for(
            f"Kafka at {settings.bootstrap_servers}",
            lambda: confirm_log(read_models, functools.partial(check_log, settings, settings)),
            (LogUnavailable,),
        )
    finally:
        await read_models.close()


def _refuse(why: str) -> int:
    print(f"hokusai-auth api: {why}", file=sys.stderr)  # noqa: T201
    return REFUSED


if __name__ == "__main__":
    sys.exit(main("127.0.0.1", 8000, 1, os.environ))
