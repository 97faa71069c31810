"""POST /api/v1/keys/validate: the hour is used up; and what every answer tells of the limit."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from services.api.verdict import Verdict
from tests.unit.api.callers import KEYS, VALIDATE, Issued, a_key, bearer, refused
from tests.unit.api.running import NOW, Surroundings

pytestmark = pytest.mark.anyio

#: From NOW, a quarter of a second past noon.
SECONDS_LEFT = 3600


def limit_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("ratelimit")}


def told(limit: int, remaining: int, seconds: int = SECONDS_LEFT) -> dict[str, str]:
    return {
        "ratelimit-limit": f"{limit}",
        "ratelimit-remaining": f"{remaining}",
        "ratelimit-reset": f"{seconds}",
        "ratelimit-policy": f'"hourly";q={limit};w=3600',
        "ratelimit": f'"hourly";r={remaining};t={seconds}',
    }


async def used_up(anyone: httpx.AsyncClient, key: Issued, limit: int = 10) -> None:
    statuses = [(await anyone.post(VALIDATE, headers=bearer(key))).status_code for _ in range(limit)]
    assert statuses == [200] * limit


class Test429:
    async def test_the_eleventh_of_ten(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=10)
        await used_up(anyone, key)
        api.time.pass_by(1000.5)

        answer = await anyone.post(VALIDATE, headers=bearer(key))

        assert answer.status_code == 429
        assert answer.content == b'{"detail":"Rate limit exceeded"}'
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["retry-after"] == str(SECONDS_LEFT - 1000)
        assert limit_headers(answer) == told(10, 0, SECONDS_LEFT - 1000)
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_with_the_key_in_the_body_too(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=10)
        await used_up(anyone, key)

        answer = await anyone.post(VALIDATE, json={"api_key": key.secret})

        assert (answer.status_code, limit_headers(answer)) == (429, told(10, 0))

    async def test_until_the_next_hour_and_never_sooner_than_said(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=10)
        await used_up(anyone, key)
        api.time.pass_by(3599.7)
        answer = await anyone.post(VALIDATE, headers=bearer(key))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")

        api.time.pass_by(int(answer.headers["retry-after"]))

        await used_up(anyone, key)
        assert (await anyone.post(VALIDATE, headers=bearer(key))).status_code == 429

    async def test_also_for_the_new_key_after_a_rotation(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=10)
        await used_up(anyone, key)

        body = (await admin.post(f"{KEYS}/{key.key_id}/rotate")).json()

        answer = await anyone.post(VALIDATE, headers=bearer(body["api_key"]))
        assert (answer.status_code, limit_headers(answer)) == (429, told(10, 0))

    async def test_only_once_all_else_is_right(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=10, scopes=["train"], allowed_ips=["203.0.113.7"])
        await used_up(anyone, key)

        for question, verdict in (
            ({"service_id": "prediction"}, Verdict.WRONG_SERVICE),
            ({"required_scope": "delete"}, Verdict.MISSING_SCOPE),
            ({"client_ip": "192.0.2.1"}, Verdict.OUTSIDE_ALLOWLIST),
        ):
            answer = await anyone.post(VALIDATE, headers=bearer(key), json=question)
            assert refused(answer, verdict)
            assert "retry-after" not in answer.headers
        await admin.delete(f"{KEYS}/{key.key_id}")
        assert refused(await anyone.post(VALIDATE, headers=bearer(key)), Verdict.INACTIVE)

    async def test_is_counted_among_the_verdicts(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=10)
        await used_up(anyone, key)
        await anyone.post(VALIDATE, headers=bearer(key))

        metrics = (await anyone.get("/metrics")).text

        assert 'hokusai_api_validations_total{verdict="rate_limited"} 1.0' in metrics


class TestLimitHeaders:
    async def test_a_key_that_passes_is_told_what_is_left_after_it(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=500)

        for left in (499, 498):
            assert limit_headers(await anyone.post(VALIDATE, headers=bearer(key))) == told(500, left)

    async def test_a_known_key_that_is_refused_is_told_too_and_nothing_is_taken(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, rate_limit_per_hour=500, expires_in_days=1)
        for question in ({"service_id": "prediction"}, {"client_ip": 7}, {"service_id": "platform"}):
            answer = await anyone.post(VALIDATE, headers=bearer(key), json=question)
            assert (
                limit_headers(answer)
                == {
                    401: told(500, 500),
                    400: {},
                    200: told(500, 499),
                }[answer.status_code]
            )
        assert api.state.clock.now() - NOW < timedelta(seconds=1)
        api.time.pass_by(24 * 3600)

        answer = await anyone.post(VALIDATE, headers=bearer(key))

        assert refused(answer, Verdict.EXPIRED)
        assert limit_headers(answer) == told(500, 500)

    async def test_an_unknown_key_is_told_nothing(self, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.post(VALIDATE, headers=bearer("hk_live_" + "x" * 32))

        assert refused(answer, Verdict.UNKNOWN)
        assert limit_headers(answer) == {}
        assert "retry-after" not in answer.headers
