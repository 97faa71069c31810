"""/health, /ready, /metrics, and a port that is taken."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import httpx
import pytest
from starlette.applications import Starlette

from events.errors import SettingsError
from events.keeper.metrics import Metrics
from events.keeper.operations import bind, operations, serve

pytestmark = pytest.mark.anyio


async def test_ready_tells_each_check_and_503_when_one_fails() -> None:
    found = {"database": True, "kafka": False}
    answer = await _get("/ready", found)
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "checks": found}
    assert (await _get("/ready", {"database": True})).json() == {
        "status": "ready",
        "checks": {"database": True},
    }


async def test_health_is_200_whatever_is_missing() -> None:
    assert (await _get("/health", {"database": False})).status_code == 200


async def test_metrics_are_prometheus_text() -> None:
    metrics = Metrics("projector")
    keys = metrics.of("keys")
    keys.batch_applied(3, 10, 0.01, 0.2)
    keys.lag(3, 5)
    keys.lag(4, 6)
    keys.partition_lost(4)
    keys.dead_letter("gap")
    keys.stale_owner(3)
    answer = await _get("/metrics", {}, metrics)
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {line for line in answer.text.splitlines() if not line.startswith("#")}
    assert {
        'projector_applied_records_total{projection="keys"} 10.0',
        'projector_lag_records{partition="3",projection="keys"} 5.0',
        'projector_dead_letters_total{projection="keys",reason="gap"} 1.0',
        'projector_stale_owner_drops_total{projection="keys"} 1.0',
        'projector_batch_seconds_count{projection="keys"} 1.0',
        'projector_lag_seconds_sum{projection="keys"} 0.2',
    } <= samples
    assert not any('partition="4"' in sample for sample in samples)


async def test_a_port_that_is_taken_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="METRICS_PORT"):
        bind("METRICS_PORT", "127.0.0.1", taken.getsockname()[1])


async def test_cancelled_it_stops_listening() -> None:
    listener = bind("METRICS_PORT", "127.0.0.1", 0)
    port = listener.getsockname()[1]
    serving = asyncio.create_task(serve(_app({}), listener))
    async with httpx.AsyncClient() as client:
        while not await _answers(client, port):
            await asyncio.sleep(0.01)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


async def _answers(client: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
    except httpx.TransportError:
        return False


def _app(found: Mapping[str, bool], metrics: Metrics | None = None) -> Starlette:
    async def checks() -> Mapping[str, bool]:
        return found

    async def text() -> bytes:
        return (metrics or Metrics("projector")).text()

    return operations(checks, text)


async def _get(path: str, found: Mapping[str, bool], metrics: Metrics | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(app=_app(found, metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://projector") as client:
        return await client.get(path)
