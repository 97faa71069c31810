"""POST /api/v1/keys/validate: the key may pass."""

from __future__ import annotations

import httpx
import orjson
import pytest

from services.api.verdict import Verdict
from tests.unit.api.callers import VALIDATE, a_key, bearer, refused
from tests.unit.api.running import PEER, Surroundings

pytestmark = pytest.mark.anyio


ELSEWHERE = "198.51.100.1"


class Test200:
    async def test_the_answer_is_what_clients_read(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(
            admin,
            scopes=["model:read"],
            rate_limit_per_hour=500,
            monthly_prediction_limit=9000,
            billing_plan="pro",
        )

        answer = await anyone.post(VALIDATE, headers=bearer(key))

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "is_valid": True,
            "key_id": key.key_id,
            "user_id": "admin",
            "service_id": "platform",
            "scopes": ["model:read"],
            "rate_limit_per_hour": 500,
            "billing_plan": "pro",
            "monthly_prediction_limit": 9000,
        }

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "ApiKey", "apikey"])
    async def test_the_key_in_the_authorization_header(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, scheme: str
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(VALIDATE, headers={"Authorization": f"{scheme} {key.secret}"})

        assert answer.status_code == 200

    async def test_the_key_in_x_api_key(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)

        assert (await anyone.post(VALIDATE, headers={"X-API-Key": key.secret})).status_code == 200

    async def test_the_key_in_the_body(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)

        assert (await anyone.post(VALIDATE, json={"api_key": key.secret})).status_code == 200

    async def test_authorization_goes_before_x_api_key_and_that_before_the_body(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        first, second, third = [(await a_key(admin)) for _ in range(3)]
        body, headers = {"api_key": third.secret}, {"X-API-Key": second.secret}

        answer = await anyone.post(VALIDATE, headers={**headers, **bearer(first)}, json=body)
        assert answer.json()["key_id"] == first.key_id
        answer = await anyone.post(VALIDATE, headers=headers, json=body)
        assert answer.json()["key_id"] == second.key_id
        answer = await anyone.post(VALIDATE, json=body)
        assert answer.json()["key_id"] == third.key_id

    @pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer ", ""])
    async def test_an_authorization_without_a_key_leaves_the_other_places(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, authorization: str
    ) -> None:
        key = await a_key(admin)
        headers = {"Authorization": authorization}

        assert (await anyone.post(VALIDATE, headers={**headers, "X-API-Key": key.secret})).status_code == 200
        assert (await anyone.post(VALIDATE, headers=headers, json={"api_key": key.secret})).status_code == 200

    @pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"client_ip":null,"more":[1,{}]}'])
    async def test_the_body_may_be_missing_empty_or_say_more(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        key = await a_key(admin)

        assert (await anyone.post(VALIDATE, headers=bearer(key), content=body)).status_code == 200

    async def test_the_content_type_does_not_matter(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        body = orjson.dumps({"api_key": key.secret})
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
            answer = await anyone.post(VALIDATE, headers={"Content-Type": content_type}, content=body)
            assert answer.status_code == 200

    async def test_an_address_that_is_none_does_not_matter_to_an_unfenced_key(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        """`client_ip` is the unchecked first item of a header that anybody can send."""
        key = await a_key(admin)

        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"client_ip": "unknown"})

        assert answer.status_code == 200

    async def test_the_peers_address_counts_where_none_is_given(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, allowed_ips=[PEER])

        assert (await anyone.post(VALIDATE, headers=bearer(key))).status_code == 200
        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"client_ip": ELSEWHERE})
        assert refused(answer, Verdict.OUTSIDE_ALLOWLIST)
        async with api.client(admin=False, peer=ELSEWHERE) as stranger:
            answer = await stranger.post(VALIDATE, headers=bearer(key))
            assert refused(answer, Verdict.OUTSIDE_ALLOWLIST)
            answer = await stranger.post(VALIDATE, headers=bearer(key), json={"client_ip": PEER})
            assert answer.status_code == 200

    @pytest.mark.parametrize("asked", ["platform", "website", "ml-platform"])
    async def test_services_under_their_old_names(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, asked: str
    ) -> None:
        key = await a_key(admin, service_id="website")

        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"service_id": asked})

        assert answer.status_code == 200
        assert answer.json()["service_id"] == "website"

    async def test_without_postgres(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        api.read_models.is_away = True
        api.appends.is_away = True

        assert (await anyone.post(VALIDATE, headers=bearer(key))).status_code == 200

    async def test_a_new_key_passes_without_postgres(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        api.read_models.is_away = True

        assert (await anyone.post(VALIDATE, headers=bearer(await a_key(admin)))).status_code == 200
