"""GET /api/v1/keys: 200 and 400."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.unit.api.callers import KEYS, UNKNOWN_ID, created
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio


def a_cursor(*place: object) -> str:
    """As the api writes them."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


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

    @pytest.mark.parametrize("time", ["2000-01-01", "2000-01-01T00:00:00", "2000-01-01T00:00:00+02:00"])
    async def test_a_cursor_is_a_place_in_the_list_however_its_time_is_written(
        self, admin: httpx.AsyncClient, time: str
    ) -> None:
        body = await created(admin)

        answer = await admin.get(KEYS, params={"cursor": a_cursor(time, UNKNOWN_ID)})

        assert answer.json() == [body["key_info"]]

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
            ("cursor", a_cursor()),
            ("cursor", a_cursor(1, 2)),
            ("cursor", a_cursor("2026-01-01", 1)),
            ("cursor", a_cursor("now", UNKNOWN_ID)),
            ("cursor", a_cursor("0001-01-01T00:00:00+23:59", UNKNOWN_ID)),
            ("cursor", "c" * 201),
        ],
    )
    async def test_a_bad_parameter_is_named(self, admin: httpx.AsyncClient, name: str, value: str) -> None:
        answer = await admin.get(KEYS, params={name: value})

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"{name}: ")
