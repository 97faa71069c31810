"""DELETE /api/v1/keys/{key_id}: 200 and 404."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.api.callers import KEYS, MALFORMED_IDS, UNKNOWN_ID, created, passes
from tests.unit.api.running import Surroundings
from tests.unit.api.workers import events_in

pytestmark = pytest.mark.anyio


class TestRevoke200:
    async def test_the_key_is_refused_and_inactive_at_once(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        body = await created(admin)

        answer = await admin.delete(f"{KEYS}/{body['key_id']}")

        assert (answer.status_code, answer.json()) == (200, {"message": "API key revoked successfully"})
        assert not await passes(anyone, body["api_key"])
        assert (await admin.get(f"{KEYS}/{body['key_id']}")).json()["is_active"] is False

    async def test_twice_is_as_good_as_once(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        key_id = (await created(admin))["key_id"]
        await admin.delete(f"{KEYS}/{key_id}")

        answer = await admin.delete(f"{KEYS}/{key_id}")

        assert answer.status_code == 200
        assert len(await events_in(api.log)) == 2

    async def test_the_current_key_takes_the_one_in_grace_along(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        old = await created(admin)
        rotate = f"{KEYS}/{old['key_id']}/rotate"
        new = (await admin.post(rotate, json={"grace_period_hours": 24})).json()

        await admin.delete(f"{KEYS}/{new['key_id']}")

        assert not await passes(anyone, old["api_key"])
        assert not await passes(anyone, new["api_key"])


class TestRevoke404:
    @pytest.mark.parametrize("key_id", [UNKNOWN_ID, *MALFORMED_IDS])
    async def test_unknown_and_malformed_ids_look_alike(self, admin: httpx.AsyncClient, key_id: str) -> None:
        answer = await admin.delete(f"{KEYS}/{key_id}")

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})
