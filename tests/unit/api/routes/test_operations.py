"""/health, /ready, /metrics, and what is not there."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.unit.api.running import Surroundings, running

pytestmark = pytest.mark.anyio

#: Older than this is any worker, the moment it has started.
AT_ONCE = {"MAX_STALENESS_SECONDS": "0.000001"}


class TestHealth:
    async def test_200_while_validations_are_answered(self, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.get("/health")

        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    async def test_200_without_postgres(self, api: Surroundings, anyone: httpx.AsyncClient) -> None:
        api.read_models.is_away = True

        assert (await anyone.get("/health")).status_code == 200

    async def test_503_when_out_of_touch_with_the_log(self, tmp_path: Path) -> None:
        async with running(tmp_path, AT_ONCE) as api, api.client(admin=False) as anyone:
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
        async with running(tmp_path, AT_ONCE) as api, api.client(admin=False) as anyone:
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
