"""What every change may be answered: 409, and 503 while the log does not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from services.api import commands
from tests.builders import a_key_created, a_key_rotated
from tests.unit.api.callers import KEYS, MINIMAL, created
from tests.unit.api.running import Surroundings, running
from tests.unit.api.workers import append, eventually

pytestmark = pytest.mark.anyio


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
        attempts = api.appends.attempts
        monkeypatch.setattr(commands, "WRITE_SECONDS", 0.3)
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
        await eventually(lambda: api.appends.attempts == attempts + 2)
