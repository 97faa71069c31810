"""What no HTTP library sends: the server refuses it like everything else, and keeps nothing of it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import psutil

from services.api.http.protocol import MAX_HEAD_BYTES
from tests.acceptance.client import VALIDATE
from tests.acceptance.stack import ApiNode

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


def exchange(node: ApiNode, *packets: bytes) -> httpx.Response:
    """Send until the server hangs up; its answer."""
    place = urlsplit(node.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
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
