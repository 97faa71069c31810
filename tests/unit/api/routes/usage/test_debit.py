"""POST /api/v1/usage/{key_id}/debit: as the other one, under an id that the caller must give."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.callers import MALFORMED_IDS, UNKNOWN_ID, Issued, a_key
from tests.unit.api.routes.usage.uses import USAGE, debit, recorded
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def key(admin: httpx.AsyncClient) -> Issued:
    return await a_key(admin)


class TestDebit200:
    async def test_what_the_middleware_sends_is_recorded_under_its_id(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        answer = await anyone.post(f"{USAGE}/{key.key_id}/debit", json=debit(key.key_id))

        assert (answer.status_code, answer.json()) == (200, {"message": "Usage recorded successfully"})
        (event,) = await recorded(api.log)
        assert event.id == f"{key.key_id}-1772366400250"
        assert event.data.model_dump() == {
            "key_id": key.key_id,
            "service_id": "platform",
            "endpoint": "/api/v1/models/30/predict",
            "status_code": 0,
            "response_time_ms": 0,
            "predictions_count": 1,
            "compute_ms": 0,
        }

    async def test_a_model_may_be_named(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        for model_id in ("30", 30):
            body = debit(key.key_id, model_id=model_id)
            assert (await anyone.post(f"{USAGE}/{key.key_id}/debit", json=body)).status_code == 200

    async def test_it_is_counted(self, anyone: httpx.AsyncClient, key: Issued) -> None:
        await anyone.post(f"{USAGE}/{key.key_id}/debit", json=debit(key.key_id))

        text = (await anyone.get("/metrics")).text

        assert 'hokusai_api_commands_total{command="debit_usage",result="done"} 1.0' in text


class TestDebit400:
    @pytest.mark.parametrize(
        "given",
        [None, "", 7, "x" * 256, "two words", "a\x00b", "hk_live_" + "a" * 32],
        ids=["null", "empty", "number", "long", "space", "NUL", "key"],
    )
    async def test_the_idempotency_key_is_wrong(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued, given: Any
    ) -> None:
        answer = await anyone.post(
            f"{USAGE}/{key.key_id}/debit", json=debit(key.key_id, idempotency_key=given)
        )

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("idempotency_key: ")
        assert await recorded(api.log) == []

    async def test_a_field_is_wrong(self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued) -> None:
        answer = await anyone.post(
            f"{USAGE}/{key.key_id}/debit", json=debit(key.key_id, predictions_count=-1)
        )

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("predictions_count: ")
        assert await recorded(api.log) == []


class TestDebit404:
    @pytest.mark.parametrize("key_id", [UNKNOWN_ID, *MALFORMED_IDS])
    async def test_no_key_has_this_id(self, anyone: httpx.AsyncClient, key_id: str) -> None:
        answer = await anyone.post(f"{USAGE}/{key_id}/debit", json=debit("none"))

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})


class TestDebit503:
    async def test_names_the_idempotency_key_to_try_again_with(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        api.appends.is_away = True

        answer = await anyone.post(f"{USAGE}/{key.key_id}/debit", json=debit(key.key_id))

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["idempotency_key"] == f"{key.key_id}-1772366400250"
