"""`hokusai-auth api`: environment -> settings -> workers."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from events.errors import SettingsError
from events.keeper.operations import bind, serve
from events.process_logs import configure_logging
from services.api.app import create_app
from services.api.follower_process import FollowerProcess
from services.api.http.connections import (
    DEFAULT_LIMITS,
    ConnectionLimits,
    connections_within,
    raise_descriptor_limit,
)
from services.api.http.fresh_connection import FreshConnection
from services.api.http.tls import ServerTls
from services.api.node_folder import opened_node_folder
from services.api.settings import ApiSettings

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 6
#: Probes and scrapers are few; their connections come out of the descriptors that are kept back.
OPERATIONS_LIMITS = ConnectionLimits(connections=128)
#: uvicorn has no setting for the limit that it sets.
LOOP = "services.api.http.tls:HandshakeLimitingLoop"
FAILED = 1
REFUSED = 2


def main(host: str, port: int, workers: int, environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT. 0: stopped cleanly; 2: refused to start, stderr says why in a sentence.

    1: could not go on; 3: a worker failed to start. The log says why, and a restart may help.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = _read_settings(environment, port)
        configure_logging(settings)
        for warning in settings.misspelled(environment):
            logger.warning("%s", warning)
        operations = _bind_operations(settings)
        limits = _connection_limits(settings)
        with opened_node_folder(settings.node_folder) as folder:
            return _run_node(settings, limits, folder, host, port, workers, operations)
    except SettingsError as error:
        return _refuse("bad settings: " + "; ".join(error.problems))
    except KeyboardInterrupt:
        return 0


def _run_node(
    settings: ApiSettings,
    limits: ConnectionLimits,
    folder: Path,
    host: str,
    port: int,
    workers: int,
    operations: socket.socket | None,
) -> int:
    """The follower first; once it has a store to answer from, the workers. It outlives them."""

    def end_the_workers() -> None:
        if workers_run.is_set():
            signal.raise_signal(signal.SIGTERM)

    workers_run = threading.Event()
    follower = FollowerProcess(settings, folder, end_the_workers)
    try:
        if not follower.wait_ready():
            return REFUSED
        workers_run.set()
        ended = _serve(settings, limits, folder, host, port, workers, operations)
    except SystemExit:
        # The signal came before the workers' supervisor listened to it.
        if not follower.is_refused:
            raise
        ended = FAILED
    finally:
        follower.stop()
    return FAILED if follower.is_refused and not ended else ended


def server_options(limits: ConnectionLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """How uvicorn is to serve the api, whatever else it is told; what is measured against it, likewise."""
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "http": functools.partial(FreshConnection, limits=limits),
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
    settings: ApiSettings,
    limits: ConnectionLimits,
    folder: Path,
    host: str,
    port: int,
    workers: int,
    operations: socket.socket | None,
) -> int:
    tls = None if settings.tls is None else ServerTls(settings.tls)
    config = uvicorn.Config(
        functools.partial(_worker, settings, folder, operations, tls),
        factory=True,
        host=host,
        port=port,
        workers=workers,
        **server_options(limits),
        loop=LOOP,
        ssl_context_factory=None if tls is None else tls.context,
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
    supervisor = _Supervisor(config, sockets=[config.bind_socket()])
    supervisor.run()
    failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
    return STARTUP_FAILURE if failed else 0


class _Supervisor(Multiprocess):
    def handle_hup(self) -> None:
        """Workers renew their certificate. Without TLS there is nothing to renew: they are made anew."""
        if not self.config.is_ssl:
            super().handle_hup()
            return
        for process in self.processes:
            # One that still starts has no handler yet and reads the newest files anyway.
            if process.pid is not None and process.is_ready():
                os.kill(process.pid, signal.SIGHUP)


def _worker(
    settings: ApiSettings, folder: Path, operations: socket.socket | None, tls: ServerTls | None
) -> ASGIApp:
    """The application of one worker; where there are several, each is a process of its own.

    All of them answer on the same two sockets: whichever dies, the others go on.
    """
    configure_logging(settings)
    serve_operations = None
    if operations is not None:
        options = server_options(OPERATIONS_LIMITS)
        serve_operations = functools.partial(serve, listener=operations, **options)
    return create_app(settings, folder, serve_operations, tls)


def _read_settings(environment: Mapping[str, str], port: int) -> ApiSettings:
    """Raises `SettingsError` with all that is wrong."""
    clash = ["OPERATIONS_PORT: the api itself listens there (--port)"]
    try:
        settings = ApiSettings.from_environment(environment)
    except SettingsError as error:
        more = clash if environment.get("OPERATIONS_PORT") == str(port) else []
        raise SettingsError([*error.problems, *more]) from None
    if settings.operations_port == port:
        raise SettingsError(clash)
    return settings


def _bind_operations(settings: ApiSettings) -> socket.socket | None:
    if settings.operations_port is None:
        return None
    return bind("OPERATIONS_PORT", settings.operations_host, settings.operations_port)


def _refuse(why: str) -> int:
    print(f"hokusai-auth api: {why}", file=sys.stderr)  # noqa: T201
    return REFUSED


if __name__ == "__main__":
    sys.exit(main("127.0.0.1", 8000, 1, os.environ))
