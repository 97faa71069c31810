"""POST /api/v1/keys: 201."""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest

from tests.unit.api.callers import KEYS, MINIMAL, created, passes
from tests.unit.api.running import Surroundings
from tests.unit.api.workers import events_in

pytestmark = pytest.mark.anyio


class TestCreate201:
    async def test_the_answer_has_the_key_its_id_and_its_info(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.post(KEYS, json=MINIMAL)

        assert answer.status_code == 201
        body = answer.json()
        assert set(body) == {"api_key", "key_id", "key_info"}
        assert str(UUID(body["key_id"])) == body["key_id"]
        assert body["key_info"] == {
            "id": body["key_id"],
            "key_id": body["key_id"],
            "name": "ci",
            "key_prefix": body["api_key"][:11] + "***",
            "user_id": "admin",
            "service_id": "platform",
            "scopes": [],
            "environment": "production",
            "is_active": True,
            "rate_limit_per_hour": 1000,
            "monthly_prediction_limit": None,
            "billing_plan": "free",
            "created_at": "2026-03-01T12:00:00Z",
            "expires_at": None,
            "last_used_at": None,
            "allowed_ips": [],
        }

    async def test_every_field_is_kept(self, admin: httpx.AsyncClient) -> None:
        settings = {
            "name": "n" * 100,
            "service_id": "prediction",
            "scopes": ["model:read", "mlflow:access"],
            "environment": "development",
            "expires_in_days": 365,
            "rate_limit_per_hour": 100_000,
            "monthly_prediction_limit": 0,
            "allowed_ips": ["10.0.0.0/8", "2001:db8::1"],
            "billing_plan": "enterprise",
        }

        body = await created(admin, **settings)

        assert body["api_key"].startswith("hk_dev_")
        info = body["key_info"]
        assert info["expires_at"] == "2027-03-01T12:00:00Z"
        assert {name: info[name] for name in settings if name != "expires_in_days"} == {
            name: value for name, value in settings.items() if name != "expires_in_days"
        }

    async def test_the_key_validates_and_is_listed_and_found_at_once(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        body = await created(admin)

        assert await passes(anyone, body["api_key"])
        assert (await admin.get(KEYS)).json() == [body["key_info"]]
        assert (await admin.get(f"{KEYS}/{body['key_id']}")).json() == body["key_info"]

    @pytest.mark.parametrize(
        "expires_at", ["2026-11-23T23:38:36.1234+30d", "2026-11-23T23:38:36+30d", "+30d"]
    )
    async def test_the_command_lines_spelling_of_an_expiry(
        self, admin: httpx.AsyncClient, expires_at: str
    ) -> None:
        """It sends its local time with the days behind it, and no `expires_in_days`."""
        body = await created(admin, expires_at=expires_at)

        assert body["key_info"]["expires_at"] == "2026-03-31T12:00:00Z"

    async def test_both_spellings_of_the_same_expiry(self, admin: httpx.AsyncClient) -> None:
        body = await created(admin, expires_at="2026-11-23T23:38:36+30d", expires_in_days=30)

        assert body["key_info"]["expires_at"] == "2026-03-31T12:00:00Z"

    async def test_nulls_mean_the_defaults_and_unknown_fields_nothing(self, admin: httpx.AsyncClient) -> None:
        body = await created(
            admin,
            expires_in_days=None,
            expires_at=None,
            allowed_ips=None,
            monthly_prediction_limit=None,
            user_id="somebody",
            shoe_size=43,
        )

        assert body["key_info"]["allowed_ips"] == []
        assert body["key_info"]["user_id"] == "admin"

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Content-Type": "application/json; charset=utf-8"},
            {"Content-Type": "application/vnd.api+json"},
        ],
    )
    async def test_json_under_other_names_or_none(
        self, admin: httpx.AsyncClient, headers: dict[str, str]
    ) -> None:
        answer = await admin.post(KEYS, content=b'{"name":"ci","service_id":"platform"}', headers=headers)

        assert answer.status_code == 201

    async def test_the_request_is_named_in_the_event(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        await admin.post(KEYS, json=MINIMAL, headers={"X-Request-ID": "req-1:a.b_c"})
        await admin.post(KEYS, json=MINIMAL, headers={"X-Request-ID": "not plain; hk_live_abc"})

        correlations = [str(event.correlationid) for event in await events_in(api.log)]
        assert "req-1:a.b_c" in correlations
        assert not any("plain" in correlation for correlation in correlations)

    async def test_postgres_is_not_needed(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        api.read_models.is_away = True

        assert await passes(anyone, (await created(admin))["api_key"])
