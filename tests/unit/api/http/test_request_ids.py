"""Every answer names its request, and so does every line and event that comes of it."""

from __future__ import annotations

import json
import logging

import httpx
import pytest

from events.process_logs import REQUEST_ID
from events.topics import Topic, Topics
from services.api.http.request_ids import RequestIds
from tests.unit.api.callers import KEYS, MINIMAL, UNKNOWN_ID, VALIDATE, a_key, bearer
from tests.unit.api.http.served import Asked, Served
from tests.unit.api.running import Surroundings
from tests.unit.api.workers import TOPIC

pytestmark = pytest.mark.anyio

HEADER = "x-request-id"
USE = {"service_id": "platform", "endpoint": "/p", "status_code": 200, "response_time_ms": 1}


def test_no_two_are_the_same() -> None:
    one, other = RequestIds(), RequestIds()
    made = [ids.of(None) for _ in range(100) for ids in (one, other)]
    assert len(set(made)) == 200


@pytest.mark.parametrize("given", [b"abc", b"0197f3a0-0000-7000-8000-00000000dead", b"a.b:c_d-e", b"x" * 128])
def test_a_plain_one_is_taken(given: bytes) -> None:
    assert RequestIds().of(given) == given


@pytest.mark.parametrize(
    "given",
    [b"", b" ", b"a b", b"x" * 129, b"a\tb", b"\xe9", b"hk_live_" + b"a" * 32, b"xhk_y", b'"', b"a,b"],
)
def test_anything_else_is_not(given: bytes) -> None:
    assert RequestIds().of(given) != given


async def every_answer(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient, headers: dict[str, str]
) -> list[httpx.Response]:
    key = await a_key(admin)
    return [
        await anyone.post(VALIDATE, headers=headers | bearer(key)),
        await anyone.post(VALIDATE, headers=headers | bearer("garbage")),
        await anyone.post(VALIDATE, headers=headers),
        await anyone.post(VALIDATE, headers=headers, content=b"{"),
        await anyone.post(VALIDATE, headers=headers, content=b" " * 100_000),
        await anyone.get(VALIDATE, headers=headers),
        await admin.post(KEYS, headers=headers, json=MINIMAL),
        await admin.post(KEYS, headers=headers, json={}),
        await admin.post(KEYS, headers=headers, content=b" " * 100_000),
        await anyone.post(KEYS, headers=headers, json=MINIMAL),
        await admin.get(KEYS, headers=headers),
        await admin.get(f"{KEYS}/{UNKNOWN_ID}", headers=headers),
        await admin.put(KEYS, headers=headers),
        await anyone.get("/nowhere", headers=headers),
        await anyone.get("/health", headers=headers),
        await anyone.get("/metrics", headers=headers),
        await anyone.get("/docs", headers=headers),
    ]


async def test_every_answer_names_its_request(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    for answer in await every_answer(admin, anyone, {HEADER: "ours"}):
        assert answer.headers.get_list(HEADER) == ["ours"], answer.request
    made = [answer.headers[HEADER] for answer in await every_answer(admin, anyone, {})]
    assert len(set(made)) == len(made)


async def test_a_failure_names_its_request_too(
    api: Surroundings, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(api.state.commands, "create", fail)
    answer = await admin.post(KEYS, json=MINIMAL, headers={HEADER: "ours"})
    assert (answer.status_code, answer.headers[HEADER]) == (500, "ours")


@pytest.mark.parametrize(
    ("request_bytes", "named"),
    [
        (
            b"GET / HTTP/1.1\r\nX-Request-ID: ours\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"x-request-id: ours\r\n",
        ),
        (b"NONSENSE\r\n\r\n", b"x-request-id: "),
    ],
)
async def test_a_refusal_names_its_request_too(request_bytes: bytes, named: bytes) -> None:
    served = Served(Asked())
    await served.ask(request_bytes)
    assert served.wire.statuses == [400]
    assert named in served.wire.written


async def test_what_a_request_has_appended_names_it(api: Surroundings, admin: httpx.AsyncClient) -> None:
    created = await admin.post(KEYS, json=MINIMAL, headers={HEADER: "creating"})
    key_id = created.json()["key_id"]
    await admin.delete(f"{KEYS}/{key_id}", headers={HEADER: "revoking"})
    unnamed = await admin.post(KEYS, json=MINIMAL)
    assert await correlation_ids(api, TOPIC) == {"creating", "revoking", unnamed.headers[HEADER]}

    used = await admin.post(f"/api/v1/usage/{unnamed.json()['key_id']}", json=USE, headers={HEADER: "using"})
    assert used.status_code == 200
    assert await correlation_ids(api, Topics().usage) == {"using"}


async def correlation_ids(api: Surroundings, topic: Topic) -> set[str]:
    return {json.loads(record.value or b"")["correlationid"] for record in await api.records(topic)}


async def test_lines_of_a_request_name_it(admin: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    named: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            named.append(REQUEST_ID.get())

    noting = Noting()
    log = logging.getLogger("services.api.http.middleware")
    log.addHandler(noting)
    caplog.set_level("INFO")
    try:
        await admin.get(KEYS, headers={HEADER: "ours"})
    finally:
        log.removeHandler(noting)
    assert named == ["ours"]
