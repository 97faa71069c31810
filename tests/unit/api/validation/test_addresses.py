"""Allowlists of addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.validation.addresses import LONGEST_ADDRESS, _lies_in, is_allowed, parse_networks


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.0/24", "203.0.113.255"),
        ("203.0.113.9/24", "203.0.113.1"),
        ("0.0.0.0/0", "8.8.8.8"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:db8::1", "2001:0DB8:0:0::0001"),
        ("2001:db8::/32", "2001:db8:ffff::1"),
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:10.0.0.0/104", "10.255.0.1"),
        ("::ffff:10.0.0.0/104", "::ffff:10.255.0.1"),
        ("203.0.113.7", " 203.0.113.7 "),
        ("203.0.113.7", "203.0.113.7:5678"),
        ("203.0.113.7", '"203.0.113.7:5678"'),
        ("203.0.113.7", "203.0.113.7:_port"),
        ("203.0.113.7", "\t203.0.113.7\r\n"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("203.0.113.7", "[::ffff:203.0.113.7]:443"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("2001:db8::1", "[2001:db8::1]:443"),
        ("2001:db8::1", '"[2001:db8::1]:443"'),
        ("2001:db8::1", ' "[2001:db8::1]" '),
        ("fe80::/10", "fe80::1%eth0"),
    ],
)
def test_an_address_in_a_network_is_allowed(entry: str, address: str) -> None:
    assert is_allowed(address, ("192.0.2.1", entry))


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("203.0.113.7", "203.0.113.8"),
        ("203.0.113.0/24", "203.0.114.0"),
        ("2001:db8::/32", "2001:db9::1"),
        ("0.0.0.0/0", "2001:db8::1"),
        ("::/0", "203.0.113.7"),
        ("::/0", "::ffff:203.0.113.7"),
        ("::ffff:10.0.0.0/104", "11.0.0.1"),
    ],
)
def test_an_address_outside_of_every_network_is_not(entry: str, address: str) -> None:
    assert not is_allowed(address, (entry,))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "unknown",
        "203.0.113",
        "203.0.113.7, 10.0.0.1",
        "1",
        "203.0.113.7:",
        "203.0.113.7:http",
        "203.0.113.7:1234567",
        "[203.0.113.7]",
        "[::1",
        "[::1]x",
        "[[::1]]",
        "::1]:80",
        '"203.0.113.7',
        '""',
        '"',
        "[]",
        "[]:80",
        ":80",
        "_hidden",
        "\0",
        "\u0661.1.1.1",
    ],
)
def test_what_is_no_address_is_outside_of_every_allowlist(address: str) -> None:
    assert not is_allowed(address, ("0.0.0.0/0", "::/0"))


def test_an_allowlist_that_cannot_be_understood_lets_nobody_in() -> None:
    """Our own routes refuse such entries; an event of somebody else may still carry one."""
    assert not is_allowed("203.0.113.7", ("203.0.113.7", "no address"))


def test_nobody_is_in_an_empty_allowlist() -> None:
    assert not is_allowed("203.0.113.7", ())


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "unknown",
        "203.0.113.7/33",
        "203.0.113.256",
        "2001:db8::/129",
        "*",
        "10.0.0.0-10.0.0.9",
        "10.0.0.1 ",
    ],
)
def test_a_malformed_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_networks(["203.0.113.7", entry])


def test_what_is_longer_than_any_address_is_not_remembered() -> None:
    """Whoever asks chooses the text, up to a whole body."""
    before = _lies_in.cache_info().currsize
    assert not is_allowed("203.0.113.7" + " " * LONGEST_ADDRESS, ("203.0.113.7",))
    assert _lies_in.cache_info().currsize == before


@given(st.text(max_size=60))
def test_no_text_is_ever_an_error(address: str) -> None:
    is_allowed(address, ("203.0.113.0/24", "2001:db8::/32"))


@given(st.text(max_size=60))
def test_an_entry_is_a_network_or_a_value_error(entry: str) -> None:
    try:
        networks = parse_networks([entry])
    except ValueError:
        return
    assert len(networks) == 1


@pytest.mark.parametrize("length", ["0.0.0.0", "255.255.255.0", "0.0.0.255", "08", "+8", "", "٨"])
def test_a_network_is_written_with_a_length_and_nothing_else(length: str) -> None:
    """`10.0.0.7/0.0.0.0` is one host in the notation of hostmasks, and everybody in that of netmasks."""
    with pytest.raises(ValueError, match="network"):
        parse_networks([f"10.0.0.7/{length}"])
