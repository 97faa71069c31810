"""The admin routes of a key's life: each answer of each route."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from events.codec import decode
from events.keys import KeyCreated
from events.memory_log import MemoryLog
from services.api import commands
from tests.builders import a_key_created, a_key_rotated, fresh_id
from tests.unit.api.running import ADMIN_TOKEN, Surroundings, running
from tests.unit.api.workers import TOPIC, append, eventually

pytestmark = pytest.mark.anyio

KEYS = "/api/v1/keys"
VALIDATE = "/api/v1/keys/validate"
MINIMAL = {"name": "ci", "service_id": "platform"}


async def created(admin: httpx.AsyncClient, **settings: Any) -> dict[str, Any]:
    answer = await admin.post(KEYS, json={**MINIMAL, **settings})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def passes(client: httpx.AsyncClient, secret: str) -> bool:
    return (await client.post(VALIDATE, headers={"Authorization": f"Bearer {secret}"})).status_code == 200


async def events_in(log: MemoryLog) -> list[Any]:
    reader = log.reader(TOPIC)
    await reader.begin({})
    return [decode(record.value) for record in await reader.read(timeout_seconds=0)]


class TestEveryRoute:
    """Of the admin's."""

    @pytest.fixture(
        params=[
            ("POST", KEYS),
            ("GET", KEYS),
            ("GET", f"{KEYS}/{fresh_id()}"),
            ("DELETE", f"{KEYS}/{fresh_id()}"),
            ("POST", f"{KEYS}/{fresh_id()}/rotate"),
        ],
        ids=["create", "list", "get", "revoke", "rotate"],
    )
    def route(self, request: pytest.FixtureRequest) -> tuple[str, str]:
        route: tuple[str, str] = request.param
        return route

    async def test_401_without_a_token(self, anyone: httpx.AsyncClient, route: tuple[str, str]) -> None:
        answer = await anyone.request(*route)

        assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})
        assert answer.headers["www-authenticate"] == "Bearer"

    async def test_401_with_a_wrong_token(self, anyone: httpx.AsyncClient, route: tuple[str, str]) -> None:
        answer = await anyone.request(*route, headers={"Authorization": "Bearer wrong"})

        assert (answer.status_code, answer.json()) == (
            401,
            {"detail": "Invalid authentication credentials"},
        )

    async def test_401_with_a_key_instead_of_a_token(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, route: tuple[str, str]
    ) -> None:
        secret = (await created(admin))["api_key"]

        answer = await anyone.request(*route, headers={"Authorization": f"Bearer {secret}"})

        assert answer.status_code == 401

    async def test_401_before_anything_of_the_request_is_judged(
        self, anyone: httpx.AsyncClient, route: tuple[str, str]
    ) -> None:
        method, path = route

        answer = await anyone.request(method, path + "?limit=none", content=b"{broken")

        assert answer.status_code == 401

    async def test_every_token_of_the_settings_opens(self, tmp_path: Path, route: tuple[str, str]) -> None:
        tokens = {"ADMIN_TOKEN": f"another-token-9876543210,{ADMIN_TOKEN}"}
        async with running(tmp_path, tokens) as api, api.client(admin=False) as client:
            for token in ("another-token-9876543210", ADMIN_TOKEN):
                answer = await client.request(*route, headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code != 401


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

    @pytest.mark.parametrize("content_type", [None, "text/json+x", "application/json; charset=utf-8"])
    async def test_json_without_a_usual_content_type(
        self, admin: httpx.AsyncClient, content_type: str | None
    ) -> None:
        headers = {} if content_type is None else {"Content-Type": "application/json"}

        answer = await admin.post(KEYS, content=b'{"name":"ci","service_id":"platform"}', headers=headers)

        assert answer.status_code == 201

    async def test_the_request_is_named_in_the_event(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        await admin.post(KEYS, json=MINIMAL, headers={"X-Request-ID": "req-1:a.b_c"})
        await admin.post(KEYS, json=MINIMAL, headers={"X-Request-ID": "not plain; hk_live_abc"})

        correlations = {event.correlationid for event in await events_in(api.log)}
        assert "req-1:a.b_c" in correlations
        assert not any("plain" in correlation for correlation in correlations)

    async def test_postgres_is_not_needed(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        api.read_models.is_away = True

        assert await passes(anyone, (await created(admin))["api_key"])


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


class TestList200:
    async def test_a_bare_list_oldest_first_revoked_ones_included(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        first = await created(admin)
        api.time.pass_by(1)
        second = await created(admin)
        await admin.delete(f"{KEYS}/{first['key_id']}")

        answer = await admin.get(KEYS)

        assert answer.status_code == 200
        assert [(key["key_id"], key["is_active"]) for key in answer.json()] == [
            (first["key_id"], False),
            (second["key_id"], True),
        ]
        assert "link" not in answer.headers

    async def test_an_empty_list(self, admin: httpx.AsyncClient) -> None:
        assert (await admin.get(KEYS)).json() == []

    async def test_the_keys_of_a_service_under_all_of_its_names(self, admin: httpx.AsyncClient) -> None:
        for service_id in ("prediction", "platform", "website", "ml-platform"):
            await created(admin, service_id=service_id, name=service_id)

        async def names(service_id: str) -> set[str]:
            answer = await admin.get(KEYS, params={"service_id": service_id})
            return {key["name"] for key in answer.json()}

        assert await names("prediction") == {"prediction"}
        for service_id in ("platform", "website", "ml-platform"):
            assert await names(service_id) == {"platform", "website", "ml-platform"}

    async def test_active_only_leaves_out_revoked_replaced_and_expired_ones(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        revoked, rotated, graced, living = [await created(admin) for _ in range(4)]
        await created(admin, expires_in_days=1)
        await admin.delete(f"{KEYS}/{revoked['key_id']}")
        successors = [
            (await admin.post(f"{KEYS}/{rotated['key_id']}/rotate")).json(),
            (await admin.post(f"{KEYS}/{graced['key_id']}/rotate", json={"grace_period_hours": 100})).json(),
        ]
        api.time.pass_by(2 * 86400)

        listed = (await admin.get(KEYS, params={"active_only": True})).json()

        assert {key["key_id"] for key in listed} == {
            living["key_id"],
            graced["key_id"],
            *(key["key_id"] for key in successors),
        }
        assert len((await admin.get(KEYS)).json()) == 7

    async def test_pages_follow_on_each_other_by_their_links(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        for _ in range(5):
            api.time.pass_by(1)
            await created(admin, service_id="prediction")
        await created(admin)
        everything = (await admin.get(KEYS, params={"service_id": "prediction"})).json()

        pages: list[list[Any]] = []
        url: str | None = f"{KEYS}?service_id=prediction&limit=2"
        while url is not None:
            answer = await admin.get(url)
            pages.append(answer.json())
            url = answer.links["next"]["url"] if "next" in answer.links else None

        assert [len(page) for page in pages] == [2, 2, 1]
        assert [key for page in pages for key in page] == everything

    async def test_a_page_that_is_just_full_is_the_last(self, admin: httpx.AsyncClient) -> None:
        await created(admin)

        answer = await admin.get(KEYS, params={"limit": 1})

        assert len(answer.json()) == 1
        assert "link" not in answer.headers

    async def test_no_secret_is_listed(self, admin: httpx.AsyncClient) -> None:
        body = await created(admin)

        text = (await admin.get(KEYS)).text

        assert body["api_key"] not in text
        assert "bcrypt" not in text
        assert "fingerprint" not in text


class TestList400:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "many"),
            ("active_only", "maybe"),
            ("service_id", "nowhere"),
            ("cursor", "garbage"),
            ("cursor", "é"),
            ("cursor", "e30="),
            ("cursor", "WzEsMl0="),
            ("cursor", "WyIyMDI2LTAxLTAxIiwgMV0="),
            ("cursor", "WyJub3ciLCAiMDE5N2YzYTAtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAxIl0="),
            ("cursor", "c" * 201),
        ],
    )
    async def test_a_bad_parameter_is_named(self, admin: httpx.AsyncClient, name: str, value: str) -> None:
        answer = await admin.get(KEYS, params={name: value})

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"{name}: ")


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


MALFORMED_IDS = ["none", "1", "hk_live_" + "a" * 32, "0197f3a0-0000-7000-8000", "%00", "%ff", "x" * 3000]


class TestGet404:
    @pytest.mark.parametrize("key_id", [fresh_id(), *MALFORMED_IDS])
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
    @pytest.mark.parametrize("key_id", [fresh_id(), *MALFORMED_IDS])
    async def test_unknown_and_malformed_ids_look_alike(self, admin: httpx.AsyncClient, key_id: str) -> None:
        answer = await admin.delete(f"{KEYS}/{key_id}")

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})


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
    @pytest.mark.parametrize("key_id", [fresh_id(), *MALFORMED_IDS])
    async def test_unknown_and_malformed_ids_look_alike(self, admin: httpx.AsyncClient, key_id: str) -> None:
        answer = await admin.post(f"{KEYS}/{key_id}/rotate")

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})


class TestChanges409:
    async def test_rotating_a_rotated_key(self, admin: httpx.AsyncClient) -> None:
        key_id = (await created(admin))["key_id"]
        await admin.post(f"{KEYS}/{key_id}/rotate")

        answer = await admin.post(f"{KEYS}/{key_id}/rotate")

        assert (answer.status_code, answer.json()) == (409, {"detail": "API key has already been rotated"})

    async def test_rotating_a_revoked_key(self, admin: httpx.AsyncClient) -> None:
        key_id = (await created(admin))["key_id"]
        await admin.delete(f"{KEYS}/{key_id}")

        answer = await admin.post(f"{KEYS}/{key_id}/rotate")

        assert (answer.status_code, answer.json()) == (409, {"detail": "API key has been revoked"})

    async def test_changing_a_key_of_a_parked_lineage(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        event = a_key_created()
        await append(api.log, event, a_key_rotated(event, sequence=3))
        await api.caught_up()

        for method, path in (("POST", "/rotate"), ("DELETE", "")):
            answer = await admin.request(method, f"{KEYS}/{event.data.key_id}{path}")
            assert answer.status_code == 409
            assert "parked" in answer.json()["detail"]

    async def test_losing_a_race_against_another_node(
        self, api: Surroundings, admin: httpx.AsyncClient, tmp_path: Path
    ) -> None:
        async with running(tmp_path / "other", log=api.log) as other, other.client() as elsewhere:
            key_id = (await created(admin))["key_id"]
            await other.caught_up()

            answers = await asyncio.gather(
                admin.post(f"{KEYS}/{key_id}/rotate"), elsewhere.post(f"{KEYS}/{key_id}/rotate")
            )

        assert sorted(answer.status_code for answer in answers) == [200, 409]


class TestChanges503:
    async def test_names_the_key_that_may_still_come_into_being(
        self, api: Surroundings, admin: httpx.AsyncClient
    ) -> None:
        api.appends.loses_answers = True

        answer = await admin.post(KEYS, json=MINIMAL)

        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert set(answer.json()) == {"detail", "key_id"}
        assert "may still take effect" in answer.json()["detail"]
        api.appends.loses_answers = False
        assert (await admin.get(f"{KEYS}/{answer.json()['key_id']}")).status_code == 200

    async def test_nothing_hangs_when_the_log_does_not_answer(
        self, api: Surroundings, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = await created(admin)
        monkeypatch.setattr(commands, "WRITE_DEADLINE_SECONDS", 0.05)
        api.appends.hold()

        answers = [
            await admin.post(KEYS, json=MINIMAL),
            await admin.post(f"{KEYS}/{body['key_id']}/rotate"),
            await admin.delete(f"{KEYS}/{body['key_id']}"),
        ]

        assert [answer.status_code for answer in answers] == [503, 503, 503]
        assert answers[2].json()["key_id"] == body["key_id"]
        assert answers[1].json()["key_id"] != body["key_id"]
        api.appends.let_through()
        await eventually(lambda: api.appends.attempts == 3)


class TestSecrets:
    """What the logs, the events and the answers of every route say."""

    @pytest.fixture
    def logged(self, caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
        """All that the api has logged; the client logs what it asks for, which is not the api's doing."""
        caplog.set_level(logging.DEBUG)
        formatter = logging.Formatter()
        return lambda: "\n".join(
            formatter.format(record) for record in caplog.records if not record.name.startswith("http")
        )

    async def test_the_full_key_is_in_the_answer_that_issues_it_and_nowhere_else(
        self,
        api: Surroundings,
        admin: httpx.AsyncClient,
        anyone: httpx.AsyncClient,
        logged: Callable[[], str],
    ) -> None:
        old = await created(admin)
        new = (await admin.post(f"{KEYS}/{old['key_id']}/rotate")).json()
        answers = [
            await admin.get(KEYS),
            await admin.get(f"{KEYS}/{new['key_id']}"),
            await anyone.post(VALIDATE, json={"api_key": new["api_key"]}),
            await anyone.post(VALIDATE, json={"api_key": old["api_key"]}),
            await anyone.post(VALIDATE, json={"api_key": [new["api_key"]]}),
            await admin.post(KEYS, json={"name": new["api_key"] * 9, "service_id": new["api_key"]}),
            await admin.get(f"{KEYS}/{new['api_key']}"),
            await admin.delete(f"{KEYS}/{new['api_key']}"),
            await admin.post(f"{KEYS}/{new['api_key']}/rotate"),
            await admin.get(KEYS, params={"cursor": new["api_key"]}),
            await anyone.get(KEYS, headers={"Authorization": f"Bearer {new['api_key']}"}),
            await anyone.get("/metrics"),
            await admin.delete(f"{KEYS}/{new['key_id']}"),
        ]
        events = "".join(event.model_dump_json() + repr(event) for event in await events_in(api.log))

        said = logged() + events + "".join(answer.text + str(answer.headers) for answer in answers)
        for secret in (old["api_key"], new["api_key"], ADMIN_TOKEN, "a pepper of thirty-two characters"):
            assert secret not in said

    async def test_access_is_logged_by_the_routes_template(
        self, admin: httpx.AsyncClient, logged: Callable[[], str]
    ) -> None:
        key_id = (await created(admin))["key_id"]
        await admin.get(f"{KEYS}/{key_id}?note=hk_live_by_mistake")

        assert "GET /api/v1/keys/{key_id} 200 in " in logged()
        assert key_id not in logged()
        assert "by_mistake" not in logged()

    async def test_the_hash_in_the_event_is_bcrypt(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        await created(admin)

        (event,) = await events_in(api.log)
        assert isinstance(event, KeyCreated)
        assert event.data.bcrypt_hash.startswith("$2b$04$")
