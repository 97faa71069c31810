"""What no HTTP library sends: the server refuses it like everything else, and keeps nothing of it."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from services.api.http.connections import RESERVED_DESCRIPTORS
from services.api.http.protocol import MAX_HEAD_BYTES
from tests.acceptance.client import KEYS, VALIDATE
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ADMIN_TOKEN, ApiNode, Stack

CANARY = "hk_live_CANARYCANARYCANARYCANARYCANARY00"
SECURITY_HEADERS = {
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "strict-transport-security",
    "x-xss-protection",
    "referrer-policy",
}


def test_what_is_no_http_is_answered_like_every_other_bad_request(node: ApiNode) -> None:
    answer = exchange(node, b"NONSENSE\r\n\r\n")
    assert answer.status_code == 400
    assert answer.json() == {"detail": "Invalid HTTP request received."}
    assert answer.headers.keys() >= SECURITY_HEADERS


def test_headers_that_do_not_end_are_refused(node: ApiNode) -> None:
    before = psutil.Process(node.pid).memory_info().rss
    answer = exchange(node, b"GET /health HTTP/1.1\r\nX-Endless: ", *([b"x" * 4096] * 4096))
    assert answer.status_code == 400
    assert answer.json() == {"detail": "Request headers too large"}
    assert psutil.Process(node.pid).memory_info().rss - before < 100 * MAX_HEAD_BYTES


def test_a_large_body_is_not_taken_for_headers(node: ApiNode) -> None:
    answer = httpx.post(f"{node.url}{VALIDATE}", json={"api_key": "x" * 60_000})
    assert answer.status_code == 401


def test_an_upgrade_to_a_websocket_is_an_ordinary_request_and_not_logged(node: ApiNode) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "X-API-Key": CANARY,
    }
    answer = httpx.get(f"{node.url}{VALIDATE}", params={"api_key": CANARY}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers.keys() >= SECURITY_HEADERS
    assert CANARY not in node.log_of_this_run()


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"


def test_a_body_beside_an_offer_of_http_2_is_judged(node: ApiNode) -> None:
    """Java's HttpClient offers it with every first request. A body that was dropped asked for no scope."""
    key = node.client.new_key(scopes=["read"])
    wanted = b'{"required_scope":"admin","service_id":"platform"}'
    bearer = b"Authorization: Bearer %s\r\n" % key.api_key.encode()
    assert exchange(node, validation(wanted, OFFER + bearer)).status_code == 401
    allowed = b'{"required_scope":"read","service_id":"platform"}'
    assert exchange(node, validation(allowed, OFFER + bearer)).status_code == 200
    in_body = b'{"api_key":"%s"}' % key.api_key.encode()
    assert exchange(node, validation(in_body, OFFER)).status_code == 200


def test_a_body_beside_an_offer_is_no_request_of_its_own(node: ApiNode) -> None:
    smuggled = b"GET /health HTTP/1.1\r\nHost: auth.test\r\n\r\n"
    head = validation(smuggled, OFFER)[: -len(smuggled)]
    answer = exchange(node, head.replace(b"close, ", b""), smuggled + validation(b""))
    assert answer.status_code == 400
    assert answer.content.count(b"HTTP/1.1 400") == 1, "the answer to what follows the body"
    assert b"HTTP/1.1 200" not in answer.content


def test_a_key_behind_the_body_is_no_key(node: ApiNode) -> None:
    key = node.client.new_key()
    chunked = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n"
    trailer = b"Authorization: Bearer %s\r\n\r\n" % key.api_key.encode()
    answer = exchange(node, b"POST %s HTTP/1.1\r\nHost: a\r\n" % VALIDATE.encode() + chunked + trailer)
    assert (answer.status_code, answer.json()) == (400, {"detail": "No API key provided"})

    token = b"Authorization: Bearer %s\r\n\r\n" % ADMIN_TOKEN.encode()
    body = b'{"name":"trailer","service_id":"platform"}'
    chunked = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(body), body)
    answer = exchange(node, b"POST %s HTTP/1.1\r\nHost: a\r\n" % KEYS.encode() + chunked + token)
    assert answer.status_code == 401


def test_trailers_that_do_not_end_are_refused(node: ApiNode) -> None:
    before = psutil.Process(node.pid).memory_info().rss
    head = (
        b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        % VALIDATE.encode()
    )
    trailers = [b"".join(b"X-%d: %s\r\n" % (line, b"x" * 100) for line in range(40))] * 4096
    assert exchange(node, head, *trailers).status_code == 400
    assert psutil.Process(node.pid).memory_info().rss - before < 100 * MAX_HEAD_BYTES


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(b"Content-Length: 10\r\n\r\n{}", id="cut off"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nNONSENSE\r\n", id="broken chunk"),
        pytest.param(b"Transfer-Encoding: gzip\r\n\r\n{}", id="unknown coding"),
    ],
)
def test_no_key_is_revoked_by_half_a_request(node: ApiNode, ending: bytes) -> None:
    key = node.client.new_key()
    head = b"DELETE %s/%s HTTP/1.1\r\nHost: a\r\n" % (KEYS.encode(), key.key_id.encode())
    token = b"Authorization: Bearer %s\r\n" % ADMIN_TOKEN.encode()
    with connection_to(node) as connection:
        connection.sendall(head + token + ending)
        for _ in range(3):
            # Whatever was begun with the half request is done before changes that are asked for later.
            node.client.revoke(node.client.new_key().key_id)
            assert node.client.accepts(key.api_key)


def test_idle_connections_give_way(shared_stack: Stack) -> None:
    node = shared_stack.api(MAX_CONNECTIONS="64")
    key = node.client.new_key()
    with ExitStack() as held:
        for _ in range(300):
            held.enter_context(connection_to(node))
            assert node.client.accepts(key.api_key)
        assert psutil.Process(node.pid).num_fds() < 64 + RESERVED_DESCRIPTORS
    assert "closed" in node.log_of_this_run()
    node.stop()


def test_half_sent_requests_end(shared_stack: Stack) -> None:
    node = shared_stack.api(REQUEST_HEAD_SECONDS="0.2", REQUEST_BODY_SECONDS="0.2")
    for begun in (b"POST /api/v1/keys/va", validation(b"{}")[:-1]):
        answer = exchange(node, begun)
        assert answer.status_code == 408
        assert answer.headers.keys() >= SECURITY_HEADERS
    node.stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_without_a_descriptor_left_goes_on(shared_stack: Stack, workers: int) -> None:
    """Nothing of what goes on beside the requests ends it: it answers those who are connected, then all."""
    node = shared_stack.api(workers=workers)
    key = node.client.new_key()
    processes = node.worker_processes() if workers > 1 else [psutil.Process(node.pid)]
    limits = {process: resource.prlimit(process.pid, resource.RLIMIT_NOFILE) for process in processes}
    with httpx.Client(base_url=node.url) as connected:
        bearer = {"Authorization": f"Bearer {key.api_key}"}
        assert connected.post(VALIDATE, headers=bearer).status_code == 200
        for process, (_, hard) in limits.items():
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, hard))
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert connected.post(VALIDATE, headers=bearer).status_code == 200
            time.sleep(0.05)
        for process, limit in limits.items():
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limit)
    eventually(lambda: validates(node, key.api_key), 10, "an answer over a new connection")
    assert all(process.is_running() for process in processes)
    node.client.revoke(key.key_id)
    assert not node.client.accepts(key.api_key)
    node.stop()


def validates(node: ApiNode, api_key: str) -> bool:
    try:
        return node.client.accepts(api_key)
    except httpx.TransportError:
        return False


def validation(body: bytes, headers: bytes = b"") -> bytes:
    """A request to validate, over a connection that is closed after it."""
    # `close` beside the other options of `Connection`, where there are some.
    closing = b"" if headers.startswith(b"Connection") else b"Connection: close\r\n"
    lines = headers.replace(b"Connection: ", b"Connection: close, ") + closing
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    return b"POST %s HTTP/1.1\r\nHost: a\r\n" % VALIDATE.encode() + lines + length + body


def connection_to(node: ApiNode) -> socket.socket:
    place = urlsplit(node.url)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=10)


def exchange(node: ApiNode, *packets: bytes) -> httpx.Response:
    """Send until the server hangs up; its answer."""
    with connection_to(node) as connection:
        try:
            for packet in packets:
                connection.sendall(packet)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            received = connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx.Response(int(status_line.split()[1]), headers=fields, content=body)
