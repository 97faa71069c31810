"""Addresses as callers and proxies write them, and allowlists: IPv4 and IPv6, single or CIDR.

`::ffff:` mapped addresses are IPv4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAPPED = IPv6Network("::ffff:0:0/96")
#: IPv6 with the name of a network interface, brackets, a port and white space. Nobody fills the cache with
#: longer texts.
LONGEST_ADDRESS = 128

#: A port, or what stands for one that is not told (RFC 7239).
_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_IN_BRACKETS = re.compile(rf"\[([^\[\]]+)\]{_PORT}")
_IPV4_WITH_PORT = re.compile(rf"([0-9.]+){_PORT}")


def parse_address(text: str) -> Address | None:
    """The address in a text as proxies write it, or None where there is none.

    `203.0.113.7`, `203.0.113.7:5678`, `2001:db8::1`, `[2001:db8::1]`, `"[2001:db8::1]:443"`, with blanks.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    if found := _IN_BRACKETS.fullmatch(text):
        text = found[1]
        if ":" not in text:
            return None
    elif found := _IPV4_WITH_PORT.fullmatch(text):
        text = found[1]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_networks(entries: Sequence[str]) -> tuple[Network, ...]:
    """The networks of an allowlist. Raises `ValueError` for a malformed entry."""
    return tuple(map(_parse_network, entries))


def is_allowed(address: str, allowlist: tuple[str, ...]) -> bool:
    """Whether an address lies in an allowlist: what is no address in none, nothing in a malformed one."""
    return len(address) <= LONGEST_ADDRESS and _lies_in(address, allowlist)


# A few callers ask again and again, and many keys have the same allowlist.
@lru_cache(maxsize=16_384)
def _lies_in(address: str, allowlist: tuple[str, ...]) -> bool:
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in _networks(allowlist))


@lru_cache(maxsize=1024)
def _networks(allowlist: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return parse_networks(allowlist)
    except ValueError:
        return ()


def _parse_network(entry: str) -> Network:
    _, slash, length = entry.partition("/")
    if slash and (not length.isascii() or not length.isdigit() or length != str(int(length))):
        # What ip_network would take for a netmask or hostmask; `/0.0.0.0` would then mean everybody.
        raise ValueError("a network is written address/length")
    network = ip_network(entry, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        address = network.network_address.ipv4_mapped
        return IPv4Network((str(address), network.prefixlen - MAPPED.prefixlen))
    return network
