"""What the logs, the events and the answers of every route say of a key."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest

from events.keys import KeyCreated
from tests.unit.api.callers import KEYS, VALIDATE, created
from tests.unit.api.running import ADMIN_TOKEN, Surroundings
from tests.unit.api.workers import events_in

pytestmark = pytest.mark.anyio


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

        assert "GET /api/v1/keys/{key_id} 200" in logged()
        assert key_id not in logged()
        assert "by_mistake" not in logged()

    async def test_the_hash_in_the_event_is_bcrypt(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        await created(admin)

        (event,) = await events_in(api.log)
        assert isinstance(event, KeyCreated)
        assert event.data.bcrypt_hash.startswith("$2b$04$")
