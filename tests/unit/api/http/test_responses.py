"""Answers whose headers are bytes already."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from services.api.http.middleware import SECURITY_HEADERS
from services.api.http.responses import EXTENSION, header_lines, parse_header_lines, write_prebuilt


def test_lines_are_headers_as_they_go_over_the_wire() -> None:
    assert header_lines([(b"a", b"1"), (b"b", b"x: y")]) == b"a: 1\r\nb: x: y\r\n"


@pytest.mark.parametrize("headers", [[], SECURITY_HEADERS, [(b"a", b""), (b"b", b": x: y"), (b"a", b"2")]])
def test_headers_come_back_from_their_lines(headers: list[tuple[bytes, bytes]]) -> None:
    assert parse_header_lines(header_lines(headers)) == headers


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {"http.response.pathsend": {}}}])
def test_nothing_is_written_by_a_server_that_does_not_offer_it(scope: dict[str, Any]) -> None:
    assert not write_prebuilt(scope, 200, b"", b"")


@pytest.mark.parametrize("is_written", [True, False])
def test_the_server_says_whether_it_has_written(*, is_written: bool) -> None:
    written: list[tuple[int, bytes, bytes]] = []

    def write(scope: MutableMapping[str, Any], status: int, lines: bytes, body: bytes) -> bool:
        written.append((status, lines, body))
        return is_written

    assert write_prebuilt({"extensions": {EXTENSION: write}}, 401, b"a: 1\r\n", b"no") is is_written
    assert written == [(401, b"a: 1\r\n", b"no")]
