"""POST /api/v1/keys/validate: something is broken, or the caller has gone."""

from __future__ import annotations

import httpx
import pytest
from starlette.types import Message, Scope

from services.api.http.middleware import MAX_BODY_BYTES
from services.api.routes.validation import ValidationRoute
from tests.unit.api.callers import VALIDATE
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio


def break_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("hk_live_by_mistake")

    monkeypatch.setattr(ValidationRoute, "_answer", broken)


async def test_500_says_nothing_about_the_error_and_has_the_headers_of_every_answer(
    anyone: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_validation(monkeypatch)

    answer = await anyone.post(VALIDATE)

    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert 'hokusai_api_answers_total{status="5xx"} 1.0' in (await anyone.get("/metrics")).text


async def test_the_error_reaches_the_server_that_logs_it(
    api: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_validation(monkeypatch)
    transport = httpx.ASGITransport(api.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as client:
        with pytest.raises(RuntimeError, match="by_mistake"):
            await client.post(VALIDATE)


async def test_every_answer_is_counted_once_by_its_status(anyone: httpx.AsyncClient) -> None:
    await anyone.post(VALIDATE)
    await anyone.post(VALIDATE, content=b"x" * (MAX_BODY_BYTES + 1))

    text = (await anyone.get("/metrics")).text

    assert 'hokusai_api_answers_total{status="4xx"} 2.0' in text
    assert 'hokusai_api_validations_total{verdict="no_key"} 1.0' in text


async def test_a_caller_that_has_hung_up_gets_no_answer_and_is_not_counted(
    api: Surroundings, anyone: httpx.AsyncClient
) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    scope: Scope = {"type": "http", "method": "POST", "path": VALIDATE, "headers": [], "client": None}
    await api.app(scope, receive, send)

    assert 'hokusai_api_answers_total{status="4xx"} 0.0' in (await anyone.get("/metrics")).text
