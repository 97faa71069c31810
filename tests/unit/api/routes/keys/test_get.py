"""GET /api/v1/keys/{key_id}: 200, 404, and 503 of both reads."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.api.callers import KEYS, MALFORMED_IDS, UNKNOWN_ID, created
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio


class TestGet200:
    async def test_the_info_of_one_key(self, admin: httpx.AsyncClient) -> None:
        body = await created(admin)
        await created(admin)

        answer = await admin.get(f"{KEYS}/{body['key_id']}")

        assert (answer.status_code, answer.json()) == (200, body["key_info"])

    async def test_the_id_in_another_spelling(self, admin: httpx.AsyncClient) -> None:
        key_id = (await created(admin))["key_id"]

        assert (await admin.get(f"{KEYS}/{key_id.upper()}")).json()["key_id"] == key_id

    async def test_an_old_key_is_active_during_its_grace_and_not_after(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        key_id = (await created(admin))["key_id"]
        await admin.post(f"{KEYS}/{key_id}/rotate", json={"grace_period_hours": 1})

        assert (await admin.get(f"{KEYS}/{key_id}")).json()["is_active"] is True
        api.time.pass_by(3600)
        assert (await admin.get(f"{KEYS}/{key_id}")).json()["is_active"] is False

    async def test_an_expired_key_says_when(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        key_id = (await created(admin, expires_in_days=1))["key_id"]
        api.time.pass_by(2 * 86400)

        info = (await admin.get(f"{KEYS}/{key_id}")).json()

        assert (info["expires_at"], info["is_active"]) == ("2026-03-02T12:00:00Z", True)


class TestGet404:
    @pytest.mark.parametrize("key_id", [UNKNOWN_ID, *MALFORMED_IDS])
    async def test_unknown_and_malformed_ids_look_alike(self, admin: httpx.AsyncClient, key_id: str) -> None:
        answer = await admin.get(f"{KEYS}/{key_id}")

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})


class TestReads503:
    async def test_while_the_read_model_is_away(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        key_id = (await created(admin))["key_id"]
        api.read_models.is_away = True

        for path in (KEYS, f"{KEYS}/{key_id}"):
            answer = await admin.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert set(answer.json()) == {"detail"}

    async def test_while_the_read_model_is_behind_what_this_worker_knows(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        api.read_models.is_behind = True

        assert (await admin.get(KEYS)).status_code == 503
