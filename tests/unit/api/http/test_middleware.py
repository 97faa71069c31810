"""What every request and every answer passes: a limit on bodies, and the security headers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from services.api.http.middleware import MAX_BODY_BYTES, HttpMiddleware
from services.api.metrics import Metrics
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio

KEYS = "/api/v1/keys"
VALIDATE = "/api/v1/keys/validate"
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "strict-transport-security": "max-age=31536000",
    "x-xss-protection": "1; mode=block",
    "referrer-policy": "strict-origin-when-cross-origin",
}


def has_security_headers(answer: httpx.Response) -> bool:
    """Each of them, once."""
    return all(answer.headers.get_list(name) == [value] for name, value in HEADERS.items())


async def in_pieces(body: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """A body whose length nobody has declared."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


class TestSecurityHeaders:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/health", 200),
            ("GET", "/ready", 200),
            ("GET", "/metrics", 200),
            ("GET", "/openapi.json", 200),
            ("GET", KEYS, 200),
            ("GET", "/", 404),
            ("GET", f"{KEYS}/none", 404),
            ("POST", KEYS, 400),
            ("POST", VALIDATE, 401),
            ("PUT", KEYS, 405),
            ("GET", f"{KEYS}/none/at/all", 404),
        ],
    )
    async def test_are_on_every_answer(
        self, admin: httpx.AsyncClient, method: str, path: str, status: int
    ) -> None:
        answer = await admin.request(method, path)

        assert answer.status_code == status
        assert has_security_headers(answer)

    async def test_are_on_answers_to_strangers(self, anyone: httpx.AsyncClient) -> None:
        for answer in (await anyone.get(KEYS), await anyone.post(VALIDATE)):
            assert has_security_headers(answer)

    async def test_are_on_refusals_of_large_bodies(self, admin: httpx.AsyncClient) -> None:
        for body in (b" " * (MAX_BODY_BYTES + 1), in_pieces(b" " * (MAX_BODY_BYTES + 1))):
            answer = await admin.post(KEYS, content=body)
            assert answer.status_code == 413
            assert has_security_headers(answer)

    async def test_let_the_documents_page_load_what_it_needs(self, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.get("/docs")

        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "default-src 'none';" in policy
        assert "http" not in policy
        assert answer.headers["x-frame-options"] == "DENY"


class TestLargeBodies:
    @pytest.mark.parametrize("path", [KEYS, VALIDATE, f"{KEYS}/none/rotate", "/health", "/nowhere"])
    async def test_413_for_a_declared_length_over_64_kib(self, admin: httpx.AsyncClient, path: str) -> None:
        answer = await admin.post(path, content=b"x" * (MAX_BODY_BYTES + 1))

        assert (answer.status_code, answer.json()) == (413, {"detail": "Request body too large"})
        assert answer.headers["connection"] == "close"

    @pytest.mark.parametrize("path", [KEYS, VALIDATE, f"{KEYS}/none/rotate"])
    async def test_413_for_a_streamed_body_over_64_kib(self, admin: httpx.AsyncClient, path: str) -> None:
        answer = await admin.post(path, content=in_pieces(b"x" * (MAX_BODY_BYTES + 1)))

        assert (answer.status_code, answer.json()) == (413, {"detail": "Request body too large"})

    async def test_413_for_a_body_that_is_longer_than_it_says(self, admin: httpx.AsyncClient) -> None:
        headers = {"Content-Length": "10"}

        answer = await admin.post(VALIDATE, content=in_pieces(b"x" * (MAX_BODY_BYTES + 1)), headers=headers)

        assert answer.status_code == 413

    async def test_413_never_reads_what_was_declared(self, anyone: httpx.AsyncClient) -> None:
        read: list[bytes] = []

        async def body() -> AsyncIterator[bytes]:
            read.append(b"x")
            yield b"x"

        for length in ("65537", "9" * 30, "9" * 5000):
            answer = await anyone.post(VALIDATE, content=body(), headers={"Content-Length": length})
            assert answer.status_code == 413
        assert read == []

    async def test_413_reads_no_further_than_the_limit(self, anyone: httpx.AsyncClient) -> None:
        read: list[bytes] = []

        async def body() -> AsyncIterator[bytes]:
            for _ in range(1000):
                read.append(b"x" * 1024)
                yield read[-1]

        answer = await anyone.post(VALIDATE, content=body())

        assert answer.status_code == 413
        assert len(read) == 65

    @pytest.mark.parametrize("streamed", [True, False])
    async def test_64_kib_are_not_too_large(self, admin: httpx.AsyncClient, *, streamed: bool) -> None:
        body = b'{"name":"ci","service_id":"platform"' + b" " * (MAX_BODY_BYTES - 37) + b"}"
        assert len(body) == MAX_BODY_BYTES

        answer = await admin.post(KEYS, content=in_pieces(body) if streamed else body)

        assert answer.status_code == 201

    async def test_a_large_body_with_a_bad_key_is_still_413(self, anyone: httpx.AsyncClient) -> None:
        answer = await anyone.post(
            VALIDATE,
            content=in_pieces(b"x" * (MAX_BODY_BYTES + 1)),
            headers={"Authorization": "Bearer garbage"},
        )

        assert answer.status_code == 413

    @pytest.mark.parametrize("length", ["", "abc", "-1", "1e9", "0x10", "²"])
    async def test_a_length_that_is_no_number_breaks_nothing(
        self, anyone: httpx.AsyncClient, length: str
    ) -> None:
        """The servers in front refuse it; should one not, what is received is counted anyway."""
        headers = [(b"Content-Length", length.encode())]

        answer = await anyone.post(VALIDATE, content=in_pieces(b"{}"), headers=headers)

        assert answer.status_code == 400


class TestUnexpectedErrors:
    async def test_500_with_security_headers_and_nothing_about_the_error(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("hk_live_by_mistake")

        transport = httpx.ASGITransport(HttpMiddleware(broken, Metrics()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as client:
            answer = await client.get("/health")

        assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})
        assert has_security_headers(answer)

    async def test_500_of_a_route_too(self, api: Surroundings, admin: httpx.AsyncClient) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("hk_live_by_mistake")

        api.read_models.get_key = broken  # type: ignore[method-assign]

        answer = await admin.get(f"{KEYS}/0197f3a0-0000-7000-8000-000000000001")

        assert (answer.status_code, answer.json()) == (500, {"detail": "Internal server error"})
        assert has_security_headers(answer)

    async def test_the_error_reaches_the_server_that_logs_it(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("broken")

        transport = httpx.ASGITransport(HttpMiddleware(broken, Metrics()))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as client:
            with pytest.raises(RuntimeError, match="broken"):
                await client.get("/health")

    async def test_an_answer_that_has_begun_is_not_begun_again(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError("broken")

        transport = httpx.ASGITransport(HttpMiddleware(broken, Metrics()))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as client:
            with pytest.raises(RuntimeError, match="broken"):
                await client.get("/health")


class TestAccessLog:
    async def test_names_the_route_and_the_answer_and_nothing_that_was_sent(
        self, admin: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", logger="services.api.http.middleware")
        await admin.get(f"{KEYS}/hk_live_by_mistake?token=hk_live_by_mistake")
        await admin.post(KEYS, headers={"Authorization": "Bearer hk_live_by_mistake"})
        await admin.post(VALIDATE, json={"api_key": "hk_live_by_mistake"})
        logged = [record for record in caplog.records if record.name == "services.api.http.middleware"]
        assert [re.sub(r" [0-9.]+ ms$", "", record.getMessage()) for record in logged] == [
            "GET /api/v1/keys/{key_id} 404",
            "POST /api/v1/keys 401",
        ]


async def test_an_answer_that_has_begun_is_not_followed_by_another() -> None:
    """One that needs no body may have begun when the body turns out to be too large."""

    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["more_body"]:
            pass

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await HttpMiddleware(hasty, Metrics())({"type": "http", "path": "/", "headers": []}, receive, send)

    assert sent == ["http.response.start"]
