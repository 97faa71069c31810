"""POST /api/v1/keys/validate: the key may not pass."""

from __future__ import annotations

import httpx
import pytest

from services.api.verdict import Verdict
from tests.builders import a_key_created, a_key_rotated
from tests.unit.api.callers import VALIDATE, a_key, bearer, refused
from tests.unit.api.running import Surroundings
from tests.unit.api.workers import append

pytestmark = pytest.mark.anyio


ELSEWHERE = "198.51.100.1"


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

        assert refused(await anyone.post(VALIDATE, headers=in_header), Verdict.UNKNOWN)
        assert refused(await anyone.post(VALIDATE, headers={b"X-API-Key": key.encode()}), Verdict.UNKNOWN)
        assert refused(await anyone.post(VALIDATE, json={"api_key": key}), Verdict.UNKNOWN)

    async def test_a_wrong_secret_looks_like_an_unknown_key(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        wrong = key.secret[:-1] + ("a" if key.secret[-1] != "a" else "b")

        assert refused(await anyone.post(VALIDATE, headers=bearer(wrong)), Verdict.UNKNOWN)

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"service_id": 1}', b"\xff", b"[" * 5000])
    async def test_a_bad_key_in_a_header_is_refused_whatever_the_body(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        revoked = await a_key(admin)
        await admin.delete(f"/api/v1/keys/{revoked.key_id}")

        answer = await anyone.post(VALIDATE, headers=bearer("garbage"), content=body)
        assert refused(answer, Verdict.UNKNOWN)
        answer = await anyone.post(VALIDATE, headers=bearer(revoked), content=body)
        assert refused(answer, Verdict.INACTIVE)

    async def test_a_bad_key_in_a_header_is_not_saved_by_a_good_one_elsewhere(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(
            VALIDATE, headers={**bearer("garbage"), "X-API-Key": key.secret}, json={"api_key": key.secret}
        )

        assert refused(answer, Verdict.UNKNOWN)

    async def test_a_key_in_the_query_is_no_key(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(VALIDATE, params={"api_key": key.secret})

        assert answer.status_code == 400

    async def test_a_revoked_key(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)
        await admin.delete(f"/api/v1/keys/{key.key_id}")

        assert refused(await anyone.post(VALIDATE, headers=bearer(key)), Verdict.INACTIVE)

    async def test_a_rotated_key_and_not_its_successor(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        new = (await admin.post(f"/api/v1/keys/{key.key_id}/rotate")).json()["api_key"]

        assert refused(await anyone.post(VALIDATE, headers=bearer(key)), Verdict.INACTIVE)
        assert (await anyone.post(VALIDATE, headers=bearer(new))).status_code == 200

    async def test_an_expired_key_to_the_second(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        """Expiry is to a full second; this key was made a quarter past one."""
        key = await a_key(admin, expires_in_days=1)

        api.time.pass_by(86399.5)
        assert (await anyone.post(VALIDATE, headers=bearer(key))).status_code == 200
        api.time.pass_by(0.25)
        assert refused(await anyone.post(VALIDATE, headers=bearer(key)), Verdict.EXPIRED)

    async def test_an_old_key_after_its_grace(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key = await a_key(admin)
        await admin.post(f"/api/v1/keys/{key.key_id}/rotate", json={"grace_period_hours": 24})

        api.time.pass_by(86399)
        assert (await anyone.post(VALIDATE, headers=bearer(key))).status_code == 200
        api.time.pass_by(1)
        assert refused(await anyone.post(VALIDATE, headers=bearer(key)), Verdict.INACTIVE)

    async def test_a_system_clock_stepped_back_an_hour_revives_nothing(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        expired = await a_key(admin, expires_in_days=1)
        rotated = await a_key(admin)
        await admin.post(f"/api/v1/keys/{rotated.key_id}/rotate", json={"grace_period_hours": 24})
        api.time.pass_by(86400)

        api.time.step_wall(-3600)

        assert refused(await anyone.post(VALIDATE, headers=bearer(expired)), Verdict.EXPIRED)
        assert refused(await anyone.post(VALIDATE, headers=bearer(rotated)), Verdict.INACTIVE)

    async def test_another_service(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin)

        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"service_id": "prediction"})

        assert refused(answer, Verdict.WRONG_SERVICE)

    async def test_a_missing_scope(self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
        key = await a_key(admin, scopes=["model:read"])

        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"required_scope": "model:write"})

        assert refused(answer, Verdict.MISSING_SCOPE)

    @pytest.mark.parametrize("client_ip", [ELSEWHERE, "unknown", ""])
    async def test_an_address_outside_of_the_allowlist(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, client_ip: str
    ) -> None:
        key = await a_key(admin, allowed_ips=["203.0.113.0/24"])

        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"client_ip": client_ip})

        assert refused(answer, Verdict.OUTSIDE_ALLOWLIST)

    async def test_a_key_of_a_parked_lineage(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
    ) -> None:
        key, other = await a_key(admin), await a_key(admin)
        await append(api.log, a_key_rotated(a_key_created(key_id=key.key_id), sequence=7))

        await api.caught_up()

        assert refused(await anyone.post(VALIDATE, headers=bearer(key)), Verdict.INACTIVE)
        assert (await anyone.post(VALIDATE, headers=bearer(other))).status_code == 200
