"""Whose address a request comes from."""

from __future__ import annotations

import time
from typing import Any

import pytest

from services.api.http.client_address import LONGEST_HEADER, UNKNOWN, ClientAddress

TRUSTED = ("10.0.0.0/8", "2001:db8:ffff::/48")
PROXY = "10.1.2.3"
CLIENT = "203.0.113.7"


def seen(*headers: tuple[str, str], peer: str = PROXY, trusted: tuple[str, ...] = TRUSTED) -> str:
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope: dict[str, Any] = {"client": (peer, 40000), "headers": lines}
    return ClientAddress(trusted)(scope)


def forwarded_for(value: str, **options: Any) -> str:
    return seen(("X-Forwarded-For", value), **options)


def forwarded(value: str, **options: Any) -> str:
    return seen(("Forwarded", value), **options)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_nobody_is_believed_but_a_proxy_that_is_trusted(header: str) -> None:
    value = "for=1.2.3.4" if header == "Forwarded" else "1.2.3.4"
    assert seen((header, value), trusted=()) == PROXY
    assert seen((header, value), peer=CLIENT) == CLIENT
    assert seen((header, value)) == "1.2.3.4"


def test_a_trusted_proxy_that_says_nothing_is_the_caller_itself() -> None:
    assert seen() == PROXY


def test_there_is_no_address_without_a_peer() -> None:
    assert ClientAddress(TRUSTED)({"client": None, "headers": []}) == UNKNOWN


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (CLIENT, CLIENT),
        (f"1.2.3.4, {CLIENT}", CLIENT),
        (f"1.2.3.4, {CLIENT}, 10.9.9.9", CLIENT),
        (f"{CLIENT}:5678", CLIENT),
        (f"{CLIENT}:5678,10.0.0.1:80", CLIENT),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:db8::1, 2001:db8:ffff::2", "2001:db8::1"),
        ("::ffff:203.0.113.7", CLIENT),
        ("10.7.7.7", "10.7.7.7"),
        ("10.7.7.7, 10.8.8.8", "10.7.7.7"),
        ("unknown", UNKNOWN),
        ("", UNKNOWN),
        (f"{CLIENT}, unknown", UNKNOWN),
        (f"{CLIENT}, unknown, 10.0.0.1", UNKNOWN),
        (f"garbage, {CLIENT}", CLIENT),
        (f"{CLIENT},", UNKNOWN),
    ],
)
def test_x_forwarded_for_is_walked_from_right_to_left(value: str, client: str) -> None:
    assert forwarded_for(value) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};Proto=https;by=10.1.1.1", CLIENT),
        (f"proto=https; for={CLIENT} ; by=10.1.1.1", CLIENT),
        (f'for="{CLIENT}:80"', CLIENT),
        ('for="[2001:db8::1]:443"', "2001:db8::1"),
        ("for=[2001:db8::1]:443", "2001:db8::1"),
        (f"for=1.2.3.4, for={CLIENT}, for=10.0.0.1", CLIENT),
        (f'host="a,b;c";for={CLIENT}', CLIENT),
        (f'host="a\\",for=9.9.9.9";for={CLIENT}', CLIENT),
        (f", for={CLIENT}", CLIENT),
        ("for=unknown", UNKNOWN),
        ("for=_hidden", UNKNOWN),
        (f"for={CLIENT}, for=unknown", UNKNOWN),
        ("proto=https", UNKNOWN),
        (f"for={CLIENT};for=1.2.3.4", UNKNOWN),
        (f'for="1.2.3.4, for={CLIENT}', UNKNOWN),
        (f"{CLIENT}", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_forwarded_is_walked_from_right_to_left(value: str, client: str) -> None:
    assert forwarded(value) == client


def test_lines_of_one_header_are_one_list() -> None:
    lines = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", CLIENT), ("X-Forwarded-For", "10.0.0.1")]
    assert seen(*lines) == CLIENT


def test_where_the_headers_differ_nobody_is_believed() -> None:
    """A proxy that writes one of them passes the other on as the client wrote it."""
    assert seen(("Forwarded", "for=1.2.3.4"), ("X-Forwarded-For", CLIENT)) == UNKNOWN
    assert seen(("Forwarded", f"for={CLIENT}"), ("X-Forwarded-For", CLIENT)) == CLIENT


@pytest.mark.parametrize(
    "endless", ["1.2.3.4," * 2000, " " * 50_000, ";" * 50_000, 'for="' + "\\" * 50_000, "for=a; " * 9000]
)
def test_a_header_of_any_length_takes_no_time(endless: str) -> None:
    began = time.perf_counter()
    for _ in range(20):
        forwarded(endless[:LONGEST_HEADER])
        forwarded_for(endless)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("entry", ["", "proxy.example", "10.0.0.0/33", "10.0.0.0/255.0.0.0"])
def test_what_is_no_network_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ClientAddress([entry])
