"""OpenTelemetry traces of requests, and of what they append, where the SDK is installed and told to export.

The standard `OTEL_*` variables configure it. Elsewhere nothing of this is imported, and nothing is wrapped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.log import EventLog, Position
from events.settings import Settings
from services.api.http.responses import EXTENSION

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

logger = logging.getLogger(__name__)

NAME = "hokusai-auth"
VALIDATE = "/api/v1/keys/validate"
CLOSE_SECONDS = 2.0
TRACEPARENT = "traceparent"


@dataclass(frozen=True, slots=True)
class Traces:
    """Wraps what is to be traced."""

    tracer: Tracer
    shut_down: Callable[[], None]

    def of_requests(self, app: ASGIApp) -> ASGIApp:
        return _TracedApp(app, self.tracer)

    async def close(self) -> None:
        """Export what is left, as far as that takes no longer than a worker has to stop."""
        closing = asyncio.create_task(asyncio.to_thread(self.shut_down))
        await asyncio.wait([closing], timeout=CLOSE_SECONDS)

    def of_appends(self, log: EventLog) -> EventLog:
        return _TracedLog(log, self.tracer)


class TraceSettings(Settings):
    """What decides whether anything is traced; the SDK itself reads the other `OTEL_*` variables."""

    otel_exporter: Literal["none", "otlp", "console"] = Field(default="none", alias="OTEL_TRACES_EXPORTER")
    otel_is_disabled: bool = Field(default=False, alias="OTEL_SDK_DISABLED")
    otel_service_name: str = Field(default="hokusai-auth-api", alias="OTEL_SERVICE_NAME")


def find_traces(settings: TraceSettings) -> Traces | None:
    """Ready to export, or None where nothing is to be exported or the SDK is not installed."""
    if settings.otel_exporter == "none" or settings.otel_is_disabled:
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
    except ImportError:
        logger.warning("OTEL_TRACES_EXPORTER is set, but nothing is traced: install hokusai-auth[otel]")
        return None
    spans: SpanExporter
    if settings.otel_exporter == "console":
        spans = ConsoleSpanExporter()
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        spans = OTLPSpanExporter()
    # The sampler is what OTEL_TRACES_SAMPLER says, further attributes what OTEL_RESOURCE_ATTRIBUTES says.
    provider = TracerProvider(resource=Resource.create({"service.name": settings.otel_service_name}))
    provider.add_span_processor(BatchSpanProcessor(spans))
    return traces_of(provider, provider.shutdown)


def traces_of(provider: TracerProvider, shut_down: Callable[[], None]) -> Traces:
    """Of a provider that is configured already."""
    return Traces(provider.get_tracer(NAME), shut_down)


class _TracedApp:
    """A server span for each request, under the caller's `traceparent` where there is one.

    The span is named after the route template: a path may hold a key by mistake.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        context = self._propagator.extract(carrier)
        # A prebuilt response goes around `send`, and its status could not be noted.
        extensions = {name: one for name, one in scope.get("extensions", {}).items() if name != EXTENSION}
        scope = {**scope, "extensions": extensions}
        method = scope["method"]
        with self._tracer.start_as_current_span(method, context=context, kind=SpanKind.SERVER) as span:

            async def noting_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    template = (
                        VALIDATE
                        if scope["path"] == VALIDATE
                        else getattr(scope.get("route"), "path_format", None)
                    )
                    span.set_attribute("http.response.status_code", status)
                    if template is not None:
                        span.set_attribute("http.route", template)
                        span.update_name(f"{method} {template}")
                    if status >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            span.set_attribute("http.request.method", method)
            await self._app(scope, receive, noting_status)


class _TracedLog:
    """A log whose appends are spans, and carry the trace on as a header of the record."""

    def __init__(self, log: EventLog, tracer: Tracer) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._log = log
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """See `EventLog.append`."""
        from opentelemetry.trace import SpanKind

        with self._tracer.start_as_current_span(f"append {topic}", kind=SpanKind.PRODUCER) as span:
            span.set_attribute("messaging.system", "kafka")
            span.set_attribute("messaging.destination.name", topic)
            carrier: dict[str, Any] = {}
            self._propagator.inject(carrier)
            trace = [(TRACEPARENT, carrier[TRACEPARENT].encode())] if TRACEPARENT in carrier else []
            position = await self._log.append(topic, key, value, [*headers, *trace])
            span.set_attribute("messaging.kafka.offset", position.offset)
            return position


def _template(scope: Scope) -> str | None:
    if scope["path"] == VALIDATE:
        return VALIDATE
    return getattr(scope.get("route"), "path_format", None)
