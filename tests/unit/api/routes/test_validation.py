"""POST /api/v1/keys/validate: each answer, and where the key may stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import orjson
import pytest

from services.api.verdict import Verdict
from tests.builders import a_key_created, a_key_rotated
from tests.unit.api.running import PEER, Surroundings, running
from tests.unit.api.workers import append

pytestmark = pytest.mark.anyio

PATH = "/api/v1/keys/validate"
ELSEWHERE = "198.51.100.1"


@dataclass(frozen=True, slots=True)
class Issued:
    secret: str
    key_id: str


async def a_key(admin: httpx.AsyncClient, **settings: Any) -> Issued:
    answer = await admin.post("/api/v1/keys", json={"name": "ci", "service_id": "platform", **settings})
    assert answer.status_code == 201, answer.text
    return Issued(answer.json()["api_key"], answer.json()["key_id"])


def bearer(key: Issued | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.secret if isinstance(key, Issued) else key}"}


def refused(answer: httpx.Response, verdict: Verdict) -> bool:
    return answer.status_code == 401 and answer.content == verdict.body()


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

        answer = await anyone.post(PATH, headers=bearer(key))

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

        answer = await anyone.post(PATH, headers={"Authorization": f"{scheme} {key.secret}"})

        assert answer.status_code == 200

    async def test_the_key_in_x_api_key(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)

        assert (await anyone.post(PATH, headers={"X-API-Key": key.secret})).status_code == 200

    async def test_the_key_in_the_body(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)

        assert (await anyone.post(PATH, json={"api_key": key.secret})).status_code == 200

    async def test_authorization_goes_before_x_api_key_and_that_before_the_body(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        first, second, third = [(await a_key(admin)) for _ in range(3)]
        body, headers = {"api_key": third.secret}, {"X-API-Key": second.secret}

        answer = await anyone.post(PATH, headers={**headers, **bearer(first)}, json=body)
        assert answer.json()["key_id"] == first.key_id
        answer = await anyone.post(PATH, headers=headers, json=body)
        assert answer.json()["key_id"] == second.key_id
        answer = await anyone.post(PATH, json=body)
        assert answer.json()["key_id"] == third.key_id

    @pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer ", ""])
    async def test_an_authorization_without_a_key_leaves_the_other_places(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, authorization: str
    ) -> None:
        key = await a_key(admin)
        headers = {"Authorization": authorization}

        assert (await anyone.post(PATH, headers={**headers, "X-API-Key": key.secret})).status_code == 200
        assert (await anyone.post(PATH, headers=headers, json={"api_key": key.secret})).status_code == 200

    @pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"client_ip":null,"more":[1,{}]}'])
    async def test_the_body_may_be_missing_empty_or_say_more(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        key = await a_key(admin)

        assert (await anyone.post(PATH, headers=bearer(key), content=body)).status_code == 200

    async def test_the_content_type_does_not_matter(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        body = orjson.dumps({"api_key": key.secret})
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
            answer = await anyone.post(PATH, headers={"Content-Type": content_type}, content=body)
            assert answer.status_code == 200

    async def test_an_address_that_is_none_does_not_matter_to_an_unfenced_key(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        """`client_ip` is the unchecked first item of a header that anybody can send."""
        key = await a_key(admin)

        answer = await anyone.post(PATH, headers=bearer(key), json={"client_ip": "unknown"})

        assert answer.status_code == 200

    async def test_the_peers_address_counts_where_none_is_given(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin, allowed_ips=[PEER])

        assert (await anyone.post(PATH, headers=bearer(key))).status_code == 200
        answer = await anyone.post(PATH, headers=bearer(key), json={"client_ip": ELSEWHERE})
        assert refused(answer, Verdict.OUTSIDE_ALLOWLIST)
        async with api.client(admin=False, peer=ELSEWHERE) as stranger:
            answer = await stranger.post(PATH, headers=bearer(key))
            assert refused(answer, Verdict.OUTSIDE_ALLOWLIST)
            answer = await stranger.post(PATH, headers=bearer(key), json={"client_ip": PEER})
            assert answer.status_code == 200

    @pytest.mark.parametrize("asked", ["platform", "website", "ml-platform"])
    async def test_services_under_their_old_names(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, asked: str
    ) -> None:
        key = await a_key(admin, service_id="website")

        answer = await anyone.post(PATH, headers=bearer(key), json={"service_id": asked})

        assert answer.status_code == 200
        assert answer.json()["service_id"] == "website"

    async def test_without_postgres(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        api.read_models.is_away = True
        api.appends.is_away = True

        assert (await anyone.post(PATH, headers=bearer(key))).status_code == 200

    async def test_a_new_key_passes_without_postgres(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        api.read_models.is_away = True

        assert (await anyone.post(PATH, headers=bearer(await a_key(admin)))).status_code == 200


class Test401:
    @pytest.mark.parametrize(
        "key",
        [
            "garbage",
            "hk_live_" + "a" * 32,
            "hk_live_" + "a" * 5000,
            "hk_live_short",
            "hk_live_" + "ü" * 32,
            "hk_live_" + "a" * 31 + "\0",
        ],
    )
    async def test_unknown_malformed_over_long_and_non_ascii_keys_look_alike(
        self, anyone: httpx.AsyncClient, key: str
    ) -> None:
        in_header = httpx.Headers([(b"Authorization", b"Bearer " + key.encode())])

        assert refused(await anyone.post(PATH, headers=in_header), Verdict.UNKNOWN)
        assert refused(await anyone.post(PATH, headers={b"X-API-Key": key.encode()}), Verdict.UNKNOWN)
        assert refused(await anyone.post(PATH, json={"api_key": key}), Verdict.UNKNOWN)

    async def test_a_wrong_secret_looks_like_an_unknown_key(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        wrong = key.secret[:-1] + ("a" if key.secret[-1] != "a" else "b")

        assert refused(await anyone.post(PATH, headers=bearer(wrong)), Verdict.UNKNOWN)

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"service_id": 1}', b"\xff", b"[" * 5000])
    async def test_a_bad_key_in_a_header_is_refused_whatever_the_body(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        revoked = await a_key(admin)
        await admin.delete(f"/api/v1/keys/{revoked.key_id}")

        answer = await anyone.post(PATH, headers=bearer("garbage"), content=body)
        assert refused(answer, Verdict.UNKNOWN)
        answer = await anyone.post(PATH, headers=bearer(revoked), content=body)
        assert refused(answer, Verdict.INACTIVE)

    async def test_a_bad_key_in_a_header_is_not_saved_by_a_good_one_elsewhere(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(
            PATH, headers={**bearer("garbage"), "X-API-Key": key.secret}, json={"api_key": key.secret}
        )

        assert refused(answer, Verdict.UNKNOWN)

    async def test_a_key_in_the_query_is_no_key(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(PATH, params={"api_key": key.secret})

        assert answer.status_code == 400

    async def test_a_revoked_key(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)
        await admin.delete(f"/api/v1/keys/{key.key_id}")

        assert refused(await anyone.post(PATH, headers=bearer(key)), Verdict.INACTIVE)

    async def test_a_rotated_key_and_not_its_successor(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        new = (await admin.post(f"/api/v1/keys/{key.key_id}/rotate")).json()["api_key"]

        assert refused(await anyone.post(PATH, headers=bearer(key)), Verdict.INACTIVE)
        assert (await anyone.post(PATH, headers=bearer(new))).status_code == 200

    async def test_an_expired_key_to_the_second(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        """Expiry is to a full second; this key was made a quarter past one."""
        key = await a_key(admin, expires_in_days=1)

        api.time.pass_by(86399.5)
        assert (await anyone.post(PATH, headers=bearer(key))).status_code == 200
        api.time.pass_by(0.25)
        assert refused(await anyone.post(PATH, headers=bearer(key)), Verdict.EXPIRED)

    async def test_an_old_key_after_its_grace(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        await admin.post(f"/api/v1/keys/{key.key_id}/rotate", json={"grace_period_hours": 24})

        api.time.pass_by(86399)
        assert (await anyone.post(PATH, headers=bearer(key))).status_code == 200
        api.time.pass_by(1)
        assert refused(await anyone.post(PATH, headers=bearer(key)), Verdict.INACTIVE)

    async def test_a_system_clock_stepped_back_an_hour_revives_nothing(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        expired = await a_key(admin, expires_in_days=1)
        rotated = await a_key(admin)
        await admin.post(f"/api/v1/keys/{rotated.key_id}/rotate", json={"grace_period_hours": 24})
        api.time.pass_by(86400)

        api.time.step_wall(-3600)

        assert refused(await anyone.post(PATH, headers=bearer(expired)), Verdict.EXPIRED)
        assert refused(await anyone.post(PATH, headers=bearer(rotated)), Verdict.INACTIVE)

    async def test_another_service(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)

        answer = await anyone.post(PATH, headers=bearer(key), json={"service_id": "prediction"})

        assert refused(answer, Verdict.WRONG_SERVICE)

    async def test_a_missing_scope(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin, scopes=["model:read"])

        answer = await anyone.post(PATH, headers=bearer(key), json={"required_scope": "model:write"})

        assert refused(answer, Verdict.MISSING_SCOPE)

    @pytest.mark.parametrize("client_ip", [ELSEWHERE, "unknown", ""])
    async def test_an_address_outside_of_the_allowlist(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, client_ip: str
    ) -> None:
        key = await a_key(admin, allowed_ips=["203.0.113.0/24"])

        answer = await anyone.post(PATH, headers=bearer(key), json={"client_ip": client_ip})

        assert refused(answer, Verdict.OUTSIDE_ALLOWLIST)

    async def test_a_key_of_a_parked_lineage(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key, other = await a_key(admin), await a_key(admin)
        await append(api.log, a_key_rotated(a_key_created(key_id=key.key_id), sequence=7))

        await api.caught_up()

        assert refused(await anyone.post(PATH, headers=bearer(key)), Verdict.INACTIVE)
        assert (await anyone.post(PATH, headers=bearer(other))).status_code == 200


class Test400:
    @pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"api_key":null}', b'{"api_key":""}'])
    async def test_no_key_anywhere(self, anyone: httpx.AsyncClient, body: bytes) -> None:
        answer = await anyone.post(PATH, content=body)

        assert (answer.status_code, answer.json()) == (400, {"detail": "No API key provided"})

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"\xff\xfe",
            b'{"api_key": NaN}',
            b'{"service_id": Infinity}',
            b"nul",
            b"{'api_key': 'x'}",
            b'{"client_ip":"\x00"}',
            b'{"service_id":"\\ud800"}',
            b"[" * 2000 + b"]" * 2000,
            b'{"a":' * 2000 + b"1" + b"}" * 2000,
        ],
    )
    async def test_broken_json(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        key = await a_key(admin)

        for headers in ({}, bearer(key)):
            answer = await anyone.post(PATH, headers=headers, content=body)
            assert (answer.status_code, answer.json()) == (400, {"detail": "body: not valid JSON"})

    @pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"true", b"1e999999", b"9" * 400])
    async def test_a_body_that_is_no_object(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(PATH, headers=bearer(key), content=body)

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("body: ")

    @pytest.mark.parametrize("field", ["service_id", "required_scope", "client_ip", "api_key"])
    @pytest.mark.parametrize("value", [1, 1.5, True, [], {}, ["platform"]])
    async def test_a_wrong_type_names_its_field(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, field: str, value: object
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(PATH, headers=bearer(key), json={field: value})

        assert (answer.status_code, answer.json()) == (400, {"detail": f"{field}: must be a string or null"})

    @pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
    async def test_a_credential_header_given_twice(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, name: str
    ) -> None:
        """Which of them would another server have taken?"""
        key = await a_key(admin)
        value = f"Bearer {key.secret}" if name == "Authorization" else key.secret

        answer = await anyone.post(PATH, headers=[(name, value), (name, value)])

        assert (answer.status_code, answer.json()) == (400, {"detail": f"{name}: given more than once"})


class Test503:
    async def test_out_of_touch_with_the_log_for_too_long(self, tmp_path: Path) -> None:
        async with running(tmp_path, {"MAX_STALENESS_SECONDS": "0.000001"}) as api, api.client() as admin:
            key = await a_key(admin)
            for headers in (bearer(key), bearer("garbage")):
                answer = await admin.post(PATH, headers=headers)

                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.content == Verdict.STALE.body()

    async def test_too_many_tries_for_a_key_that_only_bcrypt_can_verify(
        self, api: Surroundings, anyone: httpx.AsyncClient
    ) -> None:
        secret = "hk_live_AbC" + "x" * 29
        bcrypt_hash = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()
        await append(
            api.log,
            a_key_created(pepper_id="retired", key_prefix="hk_live_AbC***", bcrypt_hash=bcrypt_hash),
        )
        await api.caught_up()

        for number in range(9):
            answer = await anyone.post(PATH, headers=bearer(f"hk_live_AbC{number:029d}"))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.content == Verdict.UNDECIDED.body()

        api.time.pass_by(60)
        assert (await anyone.post(PATH, headers=bearer(secret))).status_code == 200


async def test_other_methods_and_paths_are_none_of_its_business(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.get(PATH)).status_code == 401
    assert (await anyone.put(PATH)).status_code == 405
    assert (await anyone.post(PATH + "x")).status_code in (404, 405)
