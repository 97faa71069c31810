"""POST /api/v1/usage/{key_id}: each answer, and what the log has afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.api import usage_commands
from tests.unit.api.callers import KEYS, MALFORMED_IDS, UNKNOWN_ID, Issued, a_key
from tests.unit.api.routes.usage.uses import MINIMAL, USAGE, recorded
from tests.unit.api.running import ADMIN_TOKEN, NOW, Surroundings, running
from tests.usage_fakes import MemoryUsageReadModels

pytestmark = pytest.mark.anyio

RECORDED = {"message": "Usage recorded successfully"}
USAGE_TOKEN = "a-usage-token-0123456789"


@pytest.fixture
async def key(admin: httpx.AsyncClient) -> Issued:
    return await a_key(admin)


class TestRecord200:
    async def test_four_fields_without_a_token_are_enough(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        answer = await anyone.post(f"{USAGE}/{key.key_id}", json=MINIMAL)

        assert (answer.status_code, answer.json()) == (200, RECORDED)
        (event,) = await recorded(api.log)
        assert event.data.model_dump() == {
            **MINIMAL,
            "key_id": key.key_id,
            "predictions_count": 0,
            "compute_ms": 0,
        }
        assert (event.time, event.actor) == (NOW, "usage")
        assert event.source.startswith("hokusai-auth/api/")

    async def test_every_field_is_kept(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        use = {
            "service_id": "hokusai-registry",
            "endpoint": "/" + "é" * 511,
            "status_code": 999,
            "response_time_ms": 86_400_000,
            "predictions_count": 1_000_000_000,
            "compute_ms": 0.125,
        }

        answer = await anyone.post(f"{USAGE}/{key.key_id}", json={**use, "of_no_meaning": 1})

        assert answer.status_code == 200
        (event,) = await recorded(api.log)
        assert event.data.model_dump() == {**use, "key_id": key.key_id}

    async def test_a_whole_number_is_one_however_it_is_written(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        use = {**MINIMAL, "status_code": 200.0, "predictions_count": 3.0}

        assert (await anyone.post(f"{USAGE}/{key.key_id}", json=use)).status_code == 200
        assert (await recorded(api.log))[0].data.predictions_count == 3

    async def test_zero_is_a_response_time(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        answer = await anyone.post(f"{USAGE}/{key.key_id}", json={**MINIMAL, "response_time_ms": 0})

        assert answer.status_code == 200

    async def test_the_idempotency_key_is_the_id_of_the_event(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        for given in ("request-1", "x" * 255, "!~"):
            answer = await anyone.post(
                f"{USAGE}/{key.key_id}", json=MINIMAL, headers={"Idempotency-Key": given}
            )
            assert answer.status_code == 200
        assert [event.id for event in await recorded(api.log)] == ["request-1", "x" * 255, "!~"]

    async def test_without_an_idempotency_key_every_use_is_another(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        for _ in range(2):
            await anyone.post(f"{USAGE}/{key.key_id}", json=MINIMAL)

        first, second = await recorded(api.log)
        assert first.id != second.id

    async def test_the_request_that_reported_it_is_named(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        await anyone.post(f"{USAGE}/{key.key_id}", json=MINIMAL, headers={"X-Request-ID": "request-7"})

        assert (await recorded(api.log))[0].correlationid == "request-7"

    async def test_a_revoked_keys_use_is_recorded(
        self, api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        await admin.delete(f"{KEYS}/{key.key_id}")

        answer = await anyone.post(f"{USAGE}/{key.key_id}", json=MINIMAL)

        assert answer.status_code == 200
        assert len(await recorded(api.log)) == 1

    async def test_another_spelling_of_the_id_means_the_same_key(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        assert (await anyone.post(f"{USAGE}/{key.key_id.upper()}", json=MINIMAL)).status_code == 200
        assert (await recorded(api.log))[0].data.key_id == key.key_id

    async def test_a_key_in_the_endpoint_does_not_reach_the_log(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        use = {**MINIMAL, "endpoint": f"/predict?api_key={key.secret}&n=1", "service_id": f"x{key.secret}"}

        assert (await anyone.post(f"{USAGE}/{key.key_id}", json=use)).status_code == 200

        (event,) = await recorded(api.log)
        shown = key.secret[:11] + "***"
        assert (event.data.endpoint, event.data.service_id) == (f"/predict?api_key={shown}&n=1", f"x{shown}")

    async def test_with_the_usage_token_where_one_is_set(self, tmp_path: Path) -> None:
        tokens = {"USAGE_TOKEN": f"another-token-9876543210,{USAGE_TOKEN}"}
        async with running(tmp_path, tokens) as api, api.client(admin=False) as client:
            async with api.client() as admin:
                key = await a_key(admin)
            for token in ("another-token-9876543210", USAGE_TOKEN):
                answer = await client.post(
                    f"{USAGE}/{key.key_id}", json=MINIMAL, headers={"Authorization": f"Bearer {token}"}
                )
                assert answer.status_code == 200
            assert [event.actor for event in await recorded(api.log)] == ["usage-token"] * 2


class TestRecord400:
    @pytest.mark.parametrize("field", list(MINIMAL))
    async def test_a_field_is_missing(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued, field: str
    ) -> None:
        body = {name: value for name, value in MINIMAL.items() if name != field}

        answer = await anyone.post(f"{USAGE}/{key.key_id}", json=body)

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"{field}: ")
        assert await recorded(api.log) == []

    @pytest.mark.parametrize(
        ("field", "text"),
        [
            ("service_id", '""'),
            ("service_id", "7"),
            ("service_id", "null"),
            ("service_id", '"a\\u0000b"'),
            ("service_id", '"' + "x" * 256 + '"'),
            ("endpoint", '""'),
            ("endpoint", '["/"]'),
            ("endpoint", '"/\\u0000"'),
            ("endpoint", '"' + "x" * 513 + '"'),
            ("status_code", '"200"'),
            ("status_code", "200.5"),
            ("status_code", "true"),
            ("status_code", "1e300"),
            ("status_code", "-1"),
            ("status_code", "1000"),
            ("status_code", "1" + "0" * 40),
            ("response_time_ms", '"12"'),
            ("response_time_ms", "true"),
            ("response_time_ms", "null"),
            ("response_time_ms", "-0.001"),
            ("response_time_ms", "86400001"),
            ("response_time_ms", "1e300"),
            ("predictions_count", "null"),
            ("predictions_count", "1.5"),
            ("predictions_count", "-1"),
            ("predictions_count", "1000000001"),
            ("compute_ms", "-1"),
            ("compute_ms", "{}"),
        ],
        ids=lambda text: text[:20],
    )
    async def test_a_field_is_wrong(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued, field: str, text: str
    ) -> None:
        fields = {
            "service_id": '"platform"',
            "endpoint": '"/"',
            "status_code": "200",
            "response_time_ms": "1",
        } | {field: text}
        body = "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"

        answer = await anyone.post(f"{USAGE}/{key.key_id}", content=body)

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(f"{field}: ")
        assert await recorded(api.log) == []

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"{broken",
            b'{"response_time_ms": NaN}',
            b'{"response_time_ms": 1e999}',
            b"[" * 9000,
            b'{"endpoint": "\\ud800"}',
            b"\xff",
        ],
        ids=["none", "null", "array", "broken", "NaN", "infinite", "deep", "half a character", "no UTF-8"],
    )
    async def test_the_body_can_not_be_understood(
        self, anyone: httpx.AsyncClient, key: Issued, body: bytes
    ) -> None:
        answer = await anyone.post(f"{USAGE}/{key.key_id}", content=body)

        assert answer.status_code == 400
        assert isinstance(answer.json()["detail"], str)

    @pytest.mark.parametrize("given", ["", "x" * 256, "two words", "caf\xe9", "hk_test_" + "a" * 32 + "-1"])
    async def test_the_idempotency_key_is_wrong(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued, given: str
    ) -> None:
        answer = await anyone.post(
            f"{USAGE}/{key.key_id}",
            json=MINIMAL,
            headers=httpx.Headers({"Idempotency-Key": given}, encoding="latin-1"),
        )

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("Idempotency-Key: ")
        assert "a" * 32 not in answer.text
        assert await recorded(api.log) == []

    async def test_the_idempotency_key_comes_twice(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        answer = await anyone.post(
            f"{USAGE}/{key.key_id}",
            json=MINIMAL,
            headers=[("Idempotency-Key", "one"), ("Idempotency-Key", "two")],
        )

        assert answer.status_code == 400
        assert answer.json() == {"detail": "Idempotency-Key: given more than once"}
        assert await recorded(api.log) == []


class TestRecord401:
    @pytest.fixture
    async def guarded(self, tmp_path: Path) -> AsyncIterator[Surroundings]:
        async with running(tmp_path / "guarded", {"USAGE_TOKEN": USAGE_TOKEN}) as api:
            yield api

    @pytest.mark.parametrize("route", ["", "/debit"], ids=["record", "debit"])
    @pytest.mark.parametrize(
        ("headers", "detail"),
        [
            ({}, "Not authenticated"),
            ({"Authorization": f"Bearer {USAGE_TOKEN}x"}, "Invalid authentication credentials"),
            ({"Authorization": f"Bearer {ADMIN_TOKEN}"}, "Invalid authentication credentials"),
        ],
        ids=["no token", "a wrong one", "the admin's"],
    )
    async def test_before_anything_of_the_request_is_judged(
        self, guarded: Surroundings, route: str, headers: dict[str, str], detail: str
    ) -> None:
        async with guarded.client(admin=False) as client:
            answer = await client.post(f"{USAGE}/{UNKNOWN_ID}{route}", content=b"{broken", headers=headers)

        assert (answer.status_code, answer.json()) == (401, {"detail": detail})
        assert answer.headers["www-authenticate"] == "Bearer"


class TestRecord404:
    async def test_a_key_that_nobody_created(self, api: Surroundings, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.post(f"{USAGE}/{UNKNOWN_ID}", json=MINIMAL)

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})
        assert await recorded(api.log) == []

    @pytest.mark.parametrize("key_id", MALFORMED_IDS)
    async def test_no_id_at_all(self, anyone: httpx.AsyncClient, key_id: str) -> None:
        answer = await anyone.post(f"{USAGE}/{key_id}", json=MINIMAL)

        assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})


class TestRecord409:
    async def test_another_use_was_reported_under_the_idempotency_key(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        for answer in await _reported_twice(anyone, key, {**MINIMAL, "predictions_count": 2}):
            assert answer.status_code in (200, 409)

        assert answer.status_code == 409
        assert "another idempotency key" in answer.json()["detail"]
        assert len(await recorded(api.log)) == 1

    async def test_the_same_use_is_no_other_one(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        first, second = await _reported_twice(anyone, key, {**MINIMAL, "predictions_count": 0})

        assert (first.status_code, second.status_code) == (200, 200)

    async def test_another_key_may_use_it_too(self, admin: httpx.AsyncClient, key: Issued) -> None:
        other = await a_key(admin)
        for key_id, use in ((key.key_id, MINIMAL), (other.key_id, {**MINIMAL, "status_code": 500})):
            answer = await admin.post(f"{USAGE}/{key_id}", json=use, headers={"Idempotency-Key": "one"})
            assert answer.status_code == 200

    async def test_what_cannot_be_looked_up_is_recorded_without_asking_each_time(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        models = api.state.usage_read_models
        assert isinstance(models, MemoryUsageReadModels)
        models.is_away = True

        answers = await _reported_twice(anyone, key, {**MINIMAL, "status_code": 500})

        assert [answer.status_code for answer in answers] == [200, 200]
        assert models.contents_asked == 1
        assert len(await recorded(api.log)) == 2


async def _reported_twice(
    client: httpx.AsyncClient, key: Issued, again: dict[str, object]
) -> list[httpx.Response]:
    """A use, and then another body under the same idempotency key."""
    return [
        await client.post(f"{USAGE}/{key.key_id}", json=use, headers={"Idempotency-Key": "request-1"})
        for use in (MINIMAL, again)
    ]


class TestRecord503:
    async def test_names_the_idempotency_key_to_try_again_with(
        self, api: Surroundings, anyone: httpx.AsyncClient, key: Issued
    ) -> None:
        api.appends.loses_answers = True

        answer = await anyone.post(f"{USAGE}/{key.key_id}", json=MINIMAL)

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "may still be recorded" in answer.json()["detail"]
        assert answer.json()["idempotency_key"] == (await recorded(api.log))[0].id

    async def test_the_log_does_not_answer_in_time(
        self,
        api: Surroundings,
        anyone: httpx.AsyncClient,
        key: Issued,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(usage_commands, "RECORD_DEADLINE_SECONDS", 0.05)
        api.appends.hold()

        async with asyncio.timeout(1):
            answer = await anyone.post(
                f"{USAGE}/{key.key_id}", json=MINIMAL, headers={"Idempotency-Key": "request-1"}
            )

        assert (answer.status_code, answer.json()["idempotency_key"]) == (503, "request-1")
        api.appends.let_through()

    async def test_whether_the_key_exists_can_not_be_told(
        self, api: Surroundings, anyone: httpx.AsyncClient
    ) -> None:
        api.reader.fall_silent()

        answer = await anyone.post(f"{USAGE}/{UNKNOWN_ID}", json=MINIMAL)

        assert answer.status_code == 503
        api.reader.speak()


async def test_reports_are_counted_by_result(
    api: Surroundings, anyone: httpx.AsyncClient, key: Issued
) -> None:
    for body in (MINIMAL, MINIMAL, {}):
        await anyone.post(f"{USAGE}/{key.key_id}", json=body)
    await anyone.post(f"{USAGE}/none", json=MINIMAL)
    api.appends.is_away = True
    await anyone.post(f"{USAGE}/{key.key_id}", json=MINIMAL)

    text = (await anyone.get("/metrics")).text

    for result, count in (("done", 2), ("not_found", 1), ("unknown", 1)):
        assert f'hokusai_api_commands_total{{command="record_usage",result="{result}"}} {count}.0' in text
