"""/health, /ready, /metrics, and what is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from events.clock import Clock
from services.api import app
from services.api.directory.freshness import Freshness
from services.api.metrics import exposition
from services.api.node import Node
from tests.unit.api.running import Surroundings, running

pytestmark = pytest.mark.anyio


class TestHealth:
    async def test_200_while_validations_are_answered(self, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.get("/health")

        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    async def test_200_without_postgres(self, api: Surroundings, anyone: httpx.AsyncClient) -> None:
        api.read_models.is_away = True

        assert (await anyone.get("/health")).status_code == 200

    async def test_503_when_out_of_touch_with_the_log(self, tmp_path: Path) -> None:
        async with running(tmp_path, is_stale=True) as api, api.client(admin=False) as anyone:
            answer = await anyone.get("/health")

            assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


class TestReady:
    async def test_200_names_every_dependency(self, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.get("/ready")

        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ready",
            "checks": {"database": True, "kafka": True, "log": True, "directory": True},
        }

    async def test_503_names_what_is_missing(self, api: Surroundings, anyone: httpx.AsyncClient) -> None:
        api.read_models.is_away = True

        answer = await anyone.get("/ready")

        assert answer.status_code == 503
        assert answer.json() == {
            "status": "not ready",
            "checks": {"database": False, "kafka": True, "log": True, "directory": True},
        }

    async def test_503_when_out_of_touch_with_the_log(self, tmp_path: Path) -> None:
        async with running(tmp_path, is_stale=True) as api, api.client(admin=False) as anyone:
            answer = await anyone.get("/ready")

            assert answer.status_code == 503
            assert answer.json()["checks"]["directory"] is False


class TestMetrics:
    async def test_200_is_prometheus_text(self, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.get("/metrics")

        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "hokusai_api_staleness_seconds" in answer.text

    async def test_bad_keys_are_counted_by_reason(self, anyone: httpx.AsyncClient) -> None:
        for _ in range(3):
            await anyone.post("/api/v1/keys/validate", json={"api_key": "garbage"})
        await anyone.post("/api/v1/keys/validate")

        text = (await anyone.get("/metrics")).text

        assert 'hokusai_api_validations_total{verdict="unknown"} 3.0' in text
        assert 'hokusai_api_validations_total{verdict="no_key"} 1.0' in text

    async def test_commands_are_counted_by_result(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        body = {"name": "ci", "service_id": "platform"}
        key_id = (await admin.post("/api/v1/keys", json=body)).json()["key_id"]
        await admin.post(f"/api/v1/keys/{key_id}/rotate")
        await admin.post(f"/api/v1/keys/{key_id}/rotate")
        await admin.delete("/api/v1/keys/none")
        api.appends.is_away = True
        await admin.post("/api/v1/keys", json=body)

        text = (await admin.get("/metrics")).text

        for command, result in (
            ("create", "done"),
            ("create", "unknown"),
            ("rotate", "done"),
            ("rotate", "conflict"),
            ("revoke", "not_found"),
        ):
            assert f'hokusai_api_commands_total{{command="{command}",result="{result}"}} 1.0' in text

    async def test_answers_are_counted_by_class_of_status(self, anyone: httpx.AsyncClient) -> None:
        await anyone.get("/health")
        await anyone.get("/nowhere")
        await anyone.get("/nowhere")

        text = (await anyone.get("/metrics")).text

        assert 'hokusai_api_answers_total{status="4xx"} 2.0' in text
        assert 'hokusai_api_answers_total{status="2xx"} 1.0' in text


class TestManyAtOnce:
    """They are public and cost something: what was found within a second is told to all."""

    async def test_ready_asks_the_database_once(self, api: Surroundings, anyone: httpx.AsyncClient) -> None:
        asked, silent = [], asyncio.Event()

        async def ask() -> bool:
            asked.append(1)
            await silent.wait()
            return True

        api.read_models.is_reachable = ask  # type: ignore[method-assign]
        waiting = [asyncio.create_task(anyone.get("/ready")) for _ in range(500)]
        while not asked:
            await asyncio.sleep(0)
        silent.set()

        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
        assert (await anyone.get("/ready")).status_code == 200
        assert len(asked) == 1

    async def test_metrics_are_summed_up_once(
        self, anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = []

        def counted(node: Node, freshness: Freshness, clock: Clock) -> bytes:
            made.append(1)
            return exposition(node, freshness, clock)

        monkeypatch.setattr(app, "exposition", counted)
        answers = [await anyone.get("/metrics") for _ in range(100)]

        assert len({answer.content for answer in answers}) == 1
        # A slow machine may take more than a second for a hundred.
        assert len(made) < 10


class TestOnAPortOfTheirOwn:
    @pytest.fixture
    async def api(self, tmp_path: Path) -> AsyncIterator[Surroundings]:
        async with running(tmp_path, {"OPERATIONS_PORT": "9100"}) as api:
            yield api

    async def test_the_public_port_has_health_alone(self, anyone: httpx.AsyncClient) -> None:
        assert (await anyone.get("/health")).status_code == 200
        for path in ("/ready", "/metrics"):
            assert (await anyone.get(path)).status_code == 404
            assert (await anyone.post(path)).status_code == 404
        described = (await anyone.get("/openapi.json")).json()["paths"]
        assert "/health" in described
        assert described.keys().isdisjoint({"/ready", "/metrics"})

    async def test_the_other_has_all_three_and_nothing_else(self, api: Surroundings) -> None:
        assert api.operations is not None
        transport = httpx.ASGITransport(api.operations)
        async with httpx.AsyncClient(transport=transport, base_url="http://operations") as client:
            for path in ("/health", "/ready", "/metrics"):
                answer = await client.get(path)
                assert answer.status_code == 200, path
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert (await client.head(path)).status_code == 200
            assert "hokusai_api_workers 1.0" in (await client.get("/metrics")).text
            for path in ("/docs", "/openapi.json", "/api/v1/keys", "/api/v1/keys/validate"):
                assert (await client.get(path)).status_code == 404

    async def test_health_is_503_when_out_of_touch_with_the_log(self, tmp_path: Path) -> None:
        async with running(tmp_path, {"OPERATIONS_PORT": "9100"}, is_stale=True) as api:
            assert api.operations is not None
            transport = httpx.ASGITransport(api.operations)
            async with httpx.AsyncClient(transport=transport, base_url="http://operations") as client:
                answer = await client.get("/health")
                assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


class TestElsewhere:
    @pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/redoc", "/api/v1/validate"])
    async def test_404_where_nothing_is(self, anyone: httpx.AsyncClient, path: str) -> None:
        """Scripts of the platform want `GET /` to be 404."""
        assert (await anyone.get(path)).status_code == 404

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/api/v1/keys", "GET, POST"),
            ("PATCH", f"/api/v1/keys/{'0' * 8}", "DELETE, GET"),
            ("GET", f"/api/v1/keys/{'0' * 8}/rotate", "POST"),
            ("POST", "/health", "GET"),
            ("POST", "/docs", "GET"),
        ],
    )
    async def test_405_names_the_methods_that_are_there(
        self, admin: httpx.AsyncClient, method: str, path: str, allowed: str
    ) -> None:
        answer = await admin.request(method, path)

        assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
        assert answer.headers["allow"] == allowed

    async def test_the_documents_are_there(self, anyone: httpx.AsyncClient) -> None:
        assert (await anyone.get("/docs")).status_code == 200
        assert (await anyone.get("/openapi.json")).status_code == 200
