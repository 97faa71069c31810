"""POST /api/v1/keys/{key_id}/rotate: 200, 400 and 404."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.unit.api.callers import KEYS, MALFORMED_IDS, UNKNOWN_ID, created, passes
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio


class TestRotate200:
    async def test_a_new_key_with_the_same_settings_and_the_old_one_dies(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        old = await created(admin, scopes=["train"], environment="test", allowed_ips=["203.0.113.0/24"])

        answer = await admin.post(f"{KEYS}/{old['key_id']}/rotate")

        assert answer.status_code == 200
        new = answer.json()
        assert set(new) == {"api_key", "key_id", "key_info"}
        assert new["key_id"] == new["key_info"]["key_id"] != old["key_id"]
        assert new["api_key"] != old["api_key"]
        assert new["api_key"].startswith("hk_test_")
        differing = {name for name in new["key_info"] if new["key_info"][name] != old["key_info"][name]}
        assert differing == {"id", "key_id", "key_prefix"}
        assert await passes(anyone, new["api_key"])
        assert not await passes(anyone, old["api_key"])

    @pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"grace_period_hours":0}', b'{"more":1}'])
    async def test_without_a_grace_the_old_key_dies_at_once(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        old = await created(admin)

        answer = await admin.post(f"{KEYS}/{old['key_id']}/rotate", content=body)

        assert answer.status_code == 200
        assert not await passes(anyone, old["api_key"])

    @pytest.mark.parametrize("hours", [0.5, 24, 8760])
    async def test_with_a_grace_both_live_until_its_end(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, hours: float
    ) -> None:
        old = await created(admin)

        answer = await admin.post(f"{KEYS}/{old['key_id']}/rotate", json={"grace_period_hours": hours})

        new = answer.json()
        api.time.pass_by(hours * 3600 - 1)
        assert await passes(anyone, old["api_key"])
        assert await passes(anyone, new["api_key"])
        api.time.pass_by(1)
        assert not await passes(anyone, old["api_key"])
        assert await passes(anyone, new["api_key"])

    async def test_an_expired_key_gets_a_fresh_life_of_the_same_length(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        old = await created(admin, expires_in_days=30)
        api.time.pass_by(100 * 86400)

        new = (await admin.post(f"{KEYS}/{old['key_id']}/rotate")).json()

        end = datetime(2026, 3, 1, 12, 0, tzinfo=UTC) + timedelta(days=130)
        assert new["key_info"]["expires_at"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert await passes(anyone, new["api_key"])


class TestRotate400:
    @pytest.mark.parametrize("hours", [-1, 8761, "24", True, None, [], 1e300])
    async def test_a_bad_grace_is_named(self, admin: httpx.AsyncClient, hours: object) -> None:
        old = await created(admin)

        answer = await admin.post(f"{KEYS}/{old['key_id']}/rotate", json={"grace_period_hours": hours})

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("grace_period_hours: ")

    @pytest.mark.parametrize("body", [b"{", b"[]", b"24", b'{"grace_period_hours":NaN}'])
    async def test_a_broken_body(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        old = await created(admin)

        answer = await admin.post(f"{KEYS}/{old['key_id']}/rotate", content=body)

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("body: ")
        assert await passes(anyone, old["api_key"])


class TestRotate404:
    @pytest.mark.parametrize("key_id", [UNKNOWN_ID, *MALFORMED_IDS])
    async def test_unknown_and_malformed_ids_look_alike(self, admin: httpx.AsyncClient, key_id: str) -> None:
        answer = await admin.post(f"{KEYS}/{key_id}/rotate")

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})
