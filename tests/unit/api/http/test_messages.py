"""A message is read to its end or refused, and nothing behind its body is a header."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.api.http.middleware import MAX_BODY_BYTES
from services.api.http.protocol import MAX_HEAD_BYTES, MAX_HEADERS, SLICE_BYTES
from tests.unit.api.http.served import Asked, Served

pytestmark = pytest.mark.anyio

OFFERS = [
    pytest.param(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", id="h2c"
    ),
    pytest.param(
        b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", id="websocket"
    ),
    pytest.param(b"Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n", id="TLS"),
    pytest.param(b"Connection: keep-alive, Upgrade\r\nUpgrade: made-up\r\n", id="unknown"),
]
BODIES = [
    pytest.param(b"Content-Length: 11\r\n\r\nhello world", id="length"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", id="chunked"),
]
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: auth.test\r\n\r\n"


def pieces(message: bytes, size: int) -> list[bytes]:
    return [message[at : at + size] for at in range(0, len(message), size)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("offer", OFFERS)
async def test_a_body_beside_an_offer_of_another_protocol_is_read(
    offer: bytes, body: bytes, version: bytes, size: int
) -> None:
    asked = Asked()
    served = Served(asked)
    head = b"POST /x HTTP/%s\r\nHost: auth.test\r\nX-Kept: 1\r\n" % version
    await served.ask(*pieces(head + offer + body, size))

    ((method, path, headers, read),) = asked.requests
    assert (method, path, headers[b"x-kept"], read) == ("POST", "/x", b"1", b"hello world")
    assert served.wire.statuses == [200]


@pytest.mark.parametrize("offer", OFFERS)
async def test_what_follows_a_message_with_an_offer_is_the_next_request(offer: bytes) -> None:
    asked = Asked()
    served = Served(asked)
    first = b"POST /x HTTP/1.1\r\nHost: auth.test\r\n" + offer + b"Content-Length: 2\r\n\r\n{}"
    await served.ask(first + b"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]")

    assert [(path, body) for _, path, _, body in asked.requests] == [("/x", b"{}"), ("/y", b"[]")]


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_body_beside_an_offer_is_never_a_request_of_its_own(offer: bytes) -> None:
    asked = Asked()
    served = Served(asked)
    head = b"POST /x HTTP/1.1\r\nHost: auth.test\r\n" + offer
    await served.ask(head + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED), SMUGGLED)

    assert [(path, body) for _, path, _, body in asked.requests] == [("/x", SMUGGLED)]


async def test_a_tunnel_is_refused_and_nothing_behind_it_is_parsed() -> None:
    asked = Asked()
    served = Served(asked)
    await served.ask(b"CONNECT auth.test:443 HTTP/1.1\r\nHost: auth.test\r\n\r\n" + SMUGGLED, SMUGGLED)

    assert (served.wire.statuses, asked.requests) == ([400], [])
    assert served.wire.is_closing()


TRAILED = b"POST /x HTTP/1.1\r\nHost: auth.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"


@pytest.mark.parametrize("size", [1, 10_000])
async def test_trailers_are_no_headers(size: int) -> None:
    asked = Asked()
    served = Served(asked)
    trailers = b"Authorization: Bearer secret\r\nX-API-Key: k\r\nExpect: 100-continue\r\n\r\n"
    await served.ask(*pieces(TRAILED + trailers, size))

    ((_, _, headers, body),) = asked.requests
    assert (set(headers), body) == ({b"host", b"transfer-encoding"}, b"{}")


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param([TRAILED] + [b"X-%d: 1\r\n" % number for number in range(20_000)], id="trailers"),
        pytest.param([TRAILED + b"X-One: "] + [b"x" * 4096] * 20, id="one trailer"),
        pytest.param([TRAILED[:-3] + b"5;ext="] + [b"x" * 4096] * 20, id="a chunk's extension"),
        pytest.param([TRAILED[:-3]] + [b"1\r\nx\r\n"] * 20_000, id="frames of chunks"),
        pytest.param([b"\r\n" * 2048] * 20, id="empty lines"),
        pytest.param([b"GET /"] + [b"x" * 4096] * 20, id="a path"),
    ],
)
async def test_whatever_is_not_body_counts_towards_the_limit_of_the_head(endless: list[bytes]) -> None:
    asked = Asked()
    served = Served(asked)
    taken = 0
    for packet in endless:
        if served.wire.is_closing():
            break
        served.protocol.data_received(packet)
        taken += len(packet)
        await asyncio.sleep(0)
    await served.ask()

    assert served.wire.is_closing()
    assert taken <= MAX_HEAD_BYTES + MAX_BODY_BYTES
    assert (asked.requests, served.wire.statuses) == ([], [400])


async def test_headers_are_counted_too() -> None:
    asked = Asked()
    served = Served(asked)
    await served.ask(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n" + SMUGGLED)
    assert (asked.requests, served.wire.statuses) == ([], [400])


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nNONSENSE\r\n", id="chunk size"),
        pytest.param(b"Transfer-Encoding: gzip\r\n\r\n{}", id="transfer encoding"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}AA0\r\n\r\n", id="chunk too long"),
    ],
)
async def test_nothing_is_judged_on_a_body_that_breaks_off(broken: bytes) -> None:
    asked = Asked()
    served = Served(asked)
    await served.ask(b"POST /x HTTP/1.1\r\nHost: auth.test\r\n" + broken + SMUGGLED, SMUGGLED)
    assert (asked.requests, served.wire.statuses) == ([], [400])
    assert served.wire.is_closing()


async def test_whole_requests_are_answered_before_what_follows_them_is_refused() -> None:
    asked = Asked()
    served = Served(asked)
    await served.ask(SMUGGLED + SMUGGLED + b"NONSENSE\r\n\r\n" + SMUGGLED)
    assert served.wire.statuses == [200, 200, 400]
    assert served.wire.is_closing()


async def test_a_broken_body_behind_a_whole_request_is_refused_after_its_answer() -> None:
    asked = Asked()
    served = Served(asked)
    broken = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nNONSENSE\r\n"
    await served.ask(SMUGGLED + broken + SMUGGLED)
    assert ([path for _, path, _, _ in asked.requests], served.wire.statuses) == (["/smuggled"], [200, 400])


async def test_what_nobody_reads_after_the_answer_ends_the_connection() -> None:
    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    served = Served(hasty)
    await served.ask(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(2 * MAX_BODY_BYTES // 4096):
        await served.ask(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    assert served.wire.statuses == [401]
    assert served.wire.is_closing()


async def test_requests_that_are_sent_all_at_once_are_parsed_as_they_are_answered() -> None:
    """Each takes memory a hundred times its bytes: a caller that does not wait must not fill it."""
    asked = Asked()
    served = Served(asked)
    request = b"GET /x HTTP/1.1\r\n\r\n"
    served.protocol.data_received(request * 10_000)
    assert len(served.protocol.pipeline) <= SLICE_BYTES // len(request) + 1
    assert not served.wire.reads

    async with asyncio.timeout(30):
        while len(asked.requests) < 10_000:
            await asyncio.sleep(0)
    await served.ask()
    assert served.wire.statuses == [200] * 10_000
    assert served.wire.reads


async def test_a_request_split_over_slices_is_whole() -> None:
    asked = Asked()
    served = Served(asked)
    body = bytes(range(256)) * 200
    request = b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    served.protocol.data_received(request * 5)
    async with asyncio.timeout(30):
        while len(asked.requests) < 5:
            await asyncio.sleep(0)
    assert [read for *_, read in asked.requests] == [body] * 5


async def test_hanging_up_reaches_the_request_that_is_answered_while_others_wait() -> None:
    ended = asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    served = Served(patient)
    served.protocol.data_received(SMUGGLED * 2)
    await asyncio.sleep(0)
    served.protocol.connection_lost(None)
    async with asyncio.timeout(10):
        await ended.wait()
