"""One worker of the api: everything is made here, opened and closed by the lifespan."""

from __future__ import annotations

import asyncio
import functools
import logging
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import FastAPI
from starlette.types import ASGIApp

from events.clock import Clock, boottime
from events.keeper.operations import operations as operations_app
from events.remembered import Remembered
from services.api import openapi
from services.api.commands import KeyCommands
from services.api.directory.follower_requests import FollowerRequests
from services.api.directory.freshness import Freshness
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_store import KeyStore
from services.api.exhaustion import is_exhaustion
from services.api.freed_memory import give_memory_back
from services.api.health import Health
from services.api.http import error_handlers
from services.api.http.bearer_tokens import BearerTokens
from services.api.http.client_address import ClientAddress
from services.api.http.middleware import HttpMiddleware
from services.api.http.request_ids import RequestIds
from services.api.http.tls import ServerTls
from services.api.http.tracing import Traces, find_traces
from services.api.key_existence import KeyExistence
from services.api.limits.due import DueSignal
from services.api.limits.rate_limits import RateLimits
from services.api.limits.window_tables import WindowTables
from services.api.metrics import COUNTERS, Metrics, exposition
from services.api.node import Node
from services.api.node_clock import node_offset
from services.api.node_folder import limits_folder, run_folder
from services.api.ports import Ports, worker_ports
from services.api.routes import keys, operations, usage
from services.api.routes.docs import add_docs
from services.api.routes.operations import OperationsInFront
from services.api.routes.validation import ValidationRoute
from services.api.settings import ApiSettings
from services.api.state import State
from services.api.usage_commands import UsageCommands
from services.api.validation.bcrypt_fallback import BcryptFallback
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints
from services.api.validator import KeyValidator

logger = logging.getLogger(__name__)

VERSION = "0.1.0"
WATCH_PARENT_SECONDS = 1.0
EXHAUSTION_PAUSE_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


#: Serves an application until it is cancelled.
Serve = Callable[[ASGIApp], Coroutine[Any, Any, None]]


def create_app(
    settings: ApiSettings,
    node_folder: Path,
    serve_operations: Serve | None = None,
    tls: ServerTls | None = None,
) -> ASGIApp:
    """The application of one worker. The processes of one node, and they alone, share `node_folder`.

    The node's follower must have made the store ready. `serve_operations` is given where operations have a
    port of their own, `tls` where the server has one.
    """
    return assemble(
        settings,
        node_folder,
        KeyStore(node_folder, readonly=True),
        worker_ports(settings),
        Clock(offset=node_offset(run_folder(node_folder))),
        serve_operations=serve_operations,
        tls=tls,
        traces=find_traces(settings),
    )


def assemble(
    settings: ApiSettings,
    node_folder: Path,
    store: KeyStore,
    ports: Ports,
    clock: Clock,
    boottime: Callable[[], float] = boottime,
    *,
    serve_operations: Serve | None = None,
    tls: ServerTls | None = None,
    traces: Traces | None = None,
) -> ASGIApp:
    """The same over any store and ports: every part of a worker, and how it lives."""
    topic = settings.lifecycle
    metrics = Metrics()
    hasher = Hasher(settings.bcrypt_rounds)
    fingerprints = Fingerprints(settings.key_peppers)
    directory = KeyDirectory(store)
    node = Node(run_folder(node_folder), COUNTERS)
    freshness = Freshness(node_folder, boottime)
    health = Health(freshness, ports.read_models, settings.max_staleness_seconds)
    follower = FollowerRequests(node_folder)
    source = f"hokusai-auth/api/{uuid4()}"
    log = ports.log if traces is None else traces.of_appends(ports.log)
    commands = KeyCommands(log, topic.name, directory, hasher, fingerprints, clock, metrics, source)
    tables, due = WindowTables(limits_folder(node_folder)), DueSignal(limits_folder(node_folder))
    limits = RateLimits(tables, due)

    async def metrics_text() -> bytes:
        return exposition(node, freshness, clock)

    state = State(
        BearerTokens(settings.admin_tokens),
        clock,
        commands,
        health,
        Remembered(health.checks),
        metrics,
        Remembered(metrics_text),
        ports.read_models,
        None if settings.usage_tokens is None else BearerTokens(settings.usage_tokens),
        directory,
        UsageCommands(
            log,
            settings.usage.name,
            KeyExistence(directory, follower),
            ports.usage_read_models,
            clock,
            source,
        ),
        ports.usage_read_models,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as opened:
            opened.callback(hasher.close)
            opened.callback(tables.close)
            opened.callback(due.close)
            if traces is not None:
                opened.push_async_callback(traces.close)
            _run(opened, _outlive_no_parent)
            if serve_operations is not None:
                _run(opened, functools.partial(serve_operations, beside))
            if tls is not None:
                _run(opened, tls.watch)
            with _ending_at_once():
                await opened.enter_async_context(ports.opened())
            metrics.sit(node.enter())
            opened.callback(node.leave)
            _run(opened, give_memory_back)
            metrics.answering()
            yield {"hokusai": state}

    api = FastAPI(
        title="Hokusai Auth",
        version=VERSION,
        description="May this API key pass? Creates, validates, rotates and revokes keys.",
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.api_docs == "on" else None,
        docs_url=None,
        redoc_url=None,
        # A redirect would be answered before the token is checked, to wherever the Host header says.
        redirect_slashes=False,
    )
    api.include_router(keys.router)
    api.include_router(usage.answers)
    api.include_router(usage.reports)
    api.include_router(operations.health_router)
    if settings.operations_port is None:
        api.include_router(operations.router)
    if settings.api_docs == "on":
        add_docs(api)
    error_handlers.register(api)
    api.openapi = functools.cache(lambda: openapi.describe(api))  # type: ignore[method-assign]

    bcrypt_fallback = BcryptFallback(directory, fingerprints, follower, hasher, clock, metrics)
    validator = KeyValidator(directory, fingerprints, bcrypt_fallback, limits)

    def is_healthy() -> bool:
        return metrics.is_answering and not health.is_stale

    beside = HttpMiddleware(operations_app(health.checks, metrics_text, is_healthy), metrics)
    in_front = OperationsInFront(api, are_public=settings.operations_port is None)
    request_ids = RequestIds()
    middleware = HttpMiddleware(in_front, metrics, request_ids)
    route = ValidationRoute(
        middleware,
        validator,
        limits,
        clock.seconds,
        lambda: health.is_stale,
        metrics,
        ClientAddress(settings.trusted_proxies),
        request_ids,
    )
    return route if traces is None else traces.of_requests(route)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """uvicorn looks at signals only once it listens; until then a worker has nothing to finish."""
    uvicorns = {number: signal.signal(number, lambda *_: os._exit(0)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in uvicorns.items():
            signal.signal(number, handler)


def _run(opened: AsyncExitStack, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Work that a worker can't do without, until it is closed."""
    opened.push_async_callback(_cancel, asyncio.create_task(_or_stop(work)))


async def _or_stop(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """When the work fails, the worker stops, and its lifespan ends with that error.

    Where the system has no more of something, the work begins again: stopping would give callers less still.
    """
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_exhaustion(error):
                logger.critical("this worker can't go on", exc_info=True)
                signal.raise_signal(signal.SIGTERM)
                raise
            logger.exception("out of resources: trying again")
            await asyncio.sleep(EXHAUSTION_PAUSE_SECONDS)


async def _outlive_no_parent() -> None:
    """A worker whose parent was killed would keep the port and nobody would end it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # Not getppid: a parent that was killed while this worker started would never be missed.
    while parent.is_alive():
        await asyncio.sleep(WATCH_PARENT_SECONDS)
    raise RuntimeError("the parent process is gone")


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
