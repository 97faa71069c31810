"""POST /api/v1/keys: 400."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.api.callers import KEYS, MINIMAL
from tests.unit.api.running import Surroundings
from tests.unit.api.workers import events_in

pytestmark = pytest.mark.anyio


class TestCreate400:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""),
            ("name", "n" * 101),
            ("name", None),
            ("name", 7),
            ("name", "with\0nul"),
            ("name", ["ci"]),
            ("service_id", "hokusai-registry"),
            ("service_id", None),
            ("scopes", "model:read"),
            ("scopes", ["model:read", 7]),
            ("scopes", [""]),
            ("scopes", ["s" * 101]),
            ("scopes", ["s"] * 101),
            ("scopes", None),
            ("environment", "staging"),
            ("environment", None),
            ("expires_in_days", 0),
            ("expires_in_days", 366),
            ("expires_in_days", -1),
            ("expires_in_days", 1.5),
            ("expires_in_days", "30"),
            ("expires_in_days", True),
            ("rate_limit_per_hour", 9),
            ("rate_limit_per_hour", 100_001),
            ("rate_limit_per_hour", None),
            ("rate_limit_per_hour", "1000"),
            ("rate_limit_per_hour", 10**30),
            ("monthly_prediction_limit", -1),
            ("monthly_prediction_limit", 2**53),
            ("monthly_prediction_limit", 0.5),
            ("allowed_ips", "10.0.0.1"),
            ("allowed_ips", ["10.0.0.1", "10.0.0.256"]),
            ("allowed_ips", ["*"]),
            ("allowed_ips", ["10.0.0.0/33"]),
            ("allowed_ips", [None]),
            ("allowed_ips", ["10.0.0.1"] * 101),
            ("billing_plan", ""),
            ("billing_plan", 1),
            ("expires_at", "2026-11-23T23:38:36Z"),
            ("expires_at", "2026-11-23+0d"),
            ("expires_at", "2026-11-23+366d"),
            ("expires_at", "+999999999d"),
            ("expires_at", 1),
            ("expires_at", ""),
        ],
    )
    async def test_a_bad_field_is_named(self, admin: httpx.AsyncClient, field: str, value: object) -> None:
        answer = await admin.post(KEYS, json={**MINIMAL, field: value})

        assert answer.status_code == 400
        assert set(answer.json()) == {"detail"}
        assert answer.json()["detail"].startswith(field)

    @pytest.mark.parametrize("field", ["name", "service_id"])
    async def test_a_missing_field_is_named(self, admin: httpx.AsyncClient, field: str) -> None:
        body = {name: value for name, value in MINIMAL.items() if name != field}

        answer = await admin.post(KEYS, json=body)

        assert (answer.status_code, answer.json()) == (400, {"detail": f"{field}: Field required"})

    async def test_every_bad_field_is_named(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.post(KEYS, json={"name": "", "service_id": "x", "rate_limit_per_hour": 1})

        for field in ("name", "service_id", "rate_limit_per_hour"):
            assert f"{field}: " in answer.json()["detail"]

    async def test_a_bad_item_of_a_list_is_named_by_its_place(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.post(KEYS, json={**MINIMAL, "allowed_ips": ["10.0.0.1", "nowhere"]})

        assert answer.json() == {"detail": "allowed_ips.1: must be an IP address or a CIDR network"}

    async def test_two_expiries_that_contradict(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.post(
            KEYS, json={**MINIMAL, "expires_at": "2026-11-23+30d", "expires_in_days": 7}
        )

        assert (answer.status_code, answer.json()) == (
            400,
            {"detail": "expires_at: contradicts expires_in_days"},
        )

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"\xff",
            b'{"name": NaN, "service_id": "platform"}',
            b'{"name": "\\ud800", "service_id": "platform"}',
            b"[" * 3000,
            b'{"name": "ci", "service_id": "platform", "scopes": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        ],
    )
    async def test_broken_json(self, admin: httpx.AsyncClient, body: bytes) -> None:
        answer = await admin.post(KEYS, content=body, headers={"Content-Type": "application/json"})

        assert (answer.status_code, answer.json()) == (400, {"detail": "body: not valid JSON"})

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b'"text"'])
    async def test_a_body_that_is_no_object(self, admin: httpx.AsyncClient, body: bytes) -> None:
        answer = await admin.post(KEYS, content=body, headers={"Content-Type": "application/json"})

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("body: ")

    async def test_what_was_sent_is_not_repeated(self, admin: httpx.AsyncClient) -> None:
        """It may be a key, put into the wrong field by mistake."""
        for field in ("environment", "service_id", "expires_at", "allowed_ips", "rate_limit_per_hour"):
            answer = await admin.post(KEYS, json={**MINIMAL, field: "hk_live_by_mistake"})
            assert answer.status_code == 400
            assert "by_mistake" not in answer.text

    async def test_nothing_is_appended(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        await admin.post(KEYS, json={**MINIMAL, "name": ""})

        assert await events_in(api.log) == []
