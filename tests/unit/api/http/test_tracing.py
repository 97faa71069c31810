"""Traces, where OpenTelemetry is installed and told to export."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from services.api.http.tracing import TraceSettings, find_traces, traces_of
from tests.unit.api.callers import KEYS, MINIMAL, VALIDATE, a_key, bearer
from tests.unit.api.running import Surroundings, running
from tests.unit.api.workers import TOPIC

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def traced(exporter: InMemorySpanExporter, tmp_path: Path) -> AsyncIterator[Surroundings]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with running(tmp_path, traces=traces_of(provider, provider.shutdown)) as api:
        yield api


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_a_request_and_what_it_appends_are_spans_of_the_callers_trace(
    traced: Surroundings, exporter: InMemorySpanExporter
) -> None:
    async with traced.client() as admin:
        assert (await admin.post(KEYS, json=MINIMAL, headers=SAMPLED)).status_code == 201
    found = spans(exporter)
    server, append = found[f"POST {KEYS}"], found[f"append {TOPIC.name}"]
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT
    assert server.kind is SpanKind.SERVER
    assert server.attributes is not None
    assert server.attributes["http.response.status_code"] == 201
    assert append.parent is not None
    assert server.context is not None
    assert append.parent.span_id == server.context.span_id
    assert {f"{span.context.trace_id:032x}" for span in found.values() if span.context} == {TRACE}


async def test_the_record_carries_the_trace_on(traced: Surroundings) -> None:
    async with traced.client() as admin:
        await admin.post(KEYS, json=MINIMAL, headers=SAMPLED)
    (headers,) = [dict(record.headers) for record in await traced.records(TOPIC)]
    assert headers["traceparent"].startswith(f"00-{TRACE}-".encode())


async def test_validation_is_traced_where_the_caller_samples_it(
    traced: Surroundings, exporter: InMemorySpanExporter
) -> None:
    async with traced.client() as admin, traced.client(admin=False) as anyone:
        key = bearer(await a_key(admin))
        exporter.clear()
        assert (await anyone.post(VALIDATE, headers=key | NOT_SAMPLED)).status_code == 200
        assert not spans(exporter)
        assert (await anyone.post(VALIDATE, headers=key | SAMPLED)).status_code == 200
        assert (await anyone.post(VALIDATE, headers=bearer("garbage") | SAMPLED)).status_code == 401
    assert set(spans(exporter)) == {f"POST {VALIDATE}"}
    statuses = [
        span.attributes["http.response.status_code"]
        for span in exporter.get_finished_spans()
        if span.attributes
    ]
    assert statuses == [200, 401]


async def test_no_span_names_what_may_be_a_key(traced: Surroundings, exporter: InMemorySpanExporter) -> None:
    canary = "hk_live_CANARYCANARYCANARYCANARYCANARY00"
    async with traced.client() as admin:
        await admin.get(f"{KEYS}/{canary}?token={canary}", headers=SAMPLED | {"X-API-Key": canary})
        await admin.get(f"/nowhere/{canary}", headers=SAMPLED)
    assert exporter.get_finished_spans()
    assert canary not in "".join(span.to_json() for span in exporter.get_finished_spans())


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}],
)
def test_nothing_is_traced_where_nothing_is_exported(environment: dict[str, str]) -> None:
    assert find_traces(TraceSettings.from_environment(environment)) is None


WITHOUT_THE_SDK = """
import sys
sys.modules["opentelemetry"] = None
from services.api.http.tracing import TraceSettings, find_traces
assert find_traces(TraceSettings.from_environment({"OTEL_TRACES_EXPORTER": "otlp"})) is None
"""

WITHOUT_THE_SETTING = """
import sys
import services.api.app
assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
"""


@pytest.mark.parametrize("program", [WITHOUT_THE_SDK, WITHOUT_THE_SETTING])
def test_the_sdk_is_not_needed(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[4])
