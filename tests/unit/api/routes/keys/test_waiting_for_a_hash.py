"""POST /api/v1/keys while hashes are slow to come: who waits, who is refused, and who has gone away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import orjson
import pytest
from starlette.types import Message

from services.api.validation import hashing
from tests.unit.api.callers import KEYS, MINIMAL
from tests.unit.api.running import ADMIN_TOKEN, Surroundings, running
from tests.unit.api.workers import events_in

pytestmark = pytest.mark.anyio


class Connection:
    """A caller whose body has come, and who hangs up when told."""

    def __init__(self, path: str, body: bytes) -> None:
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {ADMIN_TOKEN}".encode())],
            "client": ("127.0.0.1", 40000),
        }
        self.hangs_up = asyncio.Event()
        self.statuses: list[int] = []
        self._body: list[bytes] = [body]

    async def receive(self) -> Message:
        if self._body:
            return {"type": "http.request", "body": self._body.pop()}
        await self.hangs_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])


async def test_a_caller_that_hangs_up_while_it_waits_gets_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_cores", lambda: 1)
    async with running(tmp_path, {"BCRYPT_ROUNDS": "12"}) as api:
        before = len(await events_in(api.log))
        stays, leaves = (Connection(KEYS, orjson.dumps(MINIMAL)) for _ in range(2))
        staying = asyncio.ensure_future(api.app(stays.scope, stays.receive, stays.send))
        leaving = asyncio.ensure_future(api.app(leaves.scope, leaves.receive, leaves.send))
        leaves.hangs_up.set()

        await asyncio.wait_for(leaving, 5)
        assert not staying.done()
        await asyncio.wait_for(staying, 10)

        assert stays.statuses == [201]
        assert leaves.statuses == [499]
        assert len(await events_in(api.log)) == before + 1


async def test_a_full_queue_is_503_with_the_time_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(hashing, "_cores", lambda: 1)
    # Short enough that one is hashed in time beside whatever else runs, many enough that not all are.
    async with running(tmp_path, {"BCRYPT_ROUNDS": "9"}) as api, api.client() as admin:
        answers = await asyncio.gather(*(admin.post(KEYS, json=MINIMAL) for _ in range(100)))

        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        for answer in refused:
            assert answer.json() == {"detail": "Too many keys are being created, try again"}
            assert 1 <= int(answer.headers["retry-after"]) <= 20
        issued = [answer for answer in answers if answer.status_code == 201]
        assert len(issued) + len(refused) == 100
        assert len(await events_in(api.log)) == len(issued)
        await _works_again(api, admin)


async def _works_again(api: Surroundings, admin: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while (await admin.post(KEYS, json=MINIMAL)).status_code != 201:
            await asyncio.sleep(0.1)
