"""Every admin route asks for the token before anything else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.unit.api.callers import KEYS, UNKNOWN_ID, created
from tests.unit.api.running import ADMIN_TOKEN, running

pytestmark = pytest.mark.anyio


class TestEveryRoute:
    """Of the admin's."""

    @pytest.fixture(
        params=[
            ("POST", KEYS),
            ("GET", KEYS),
            ("GET", f"{KEYS}/{UNKNOWN_ID}"),
            ("DELETE", f"{KEYS}/{UNKNOWN_ID}"),
            ("POST", f"{KEYS}/{UNKNOWN_ID}/rotate"),
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
