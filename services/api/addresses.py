"""Allowlists of addresses: IPv4 and IPv6, single or CIDR. `::ffff:` mapped addresses are IPv4."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

MAPPED = IPv6Network("::ffff:0:0/96")
#: IPv6 with the name of a network interface, and white space. Nobody fills the cache with longer texts.
LONGEST_ADDRESS = 128


def parse_networks(entries: Sequence[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of an allowlist. Raises `ValueError` for a malformed entry."""
    return tuple(map(_parse_network, entries))


def is_allowed(address: str, allowlist: tuple[str, ...]) -> bool:
    """Whether an address lies in an allowlist: what is no address in none, nothing in a malformed one."""
    return len(address) <= LONGEST_ADDRESS and _lies_in(address, allowlist)


# A few callers ask again and again, and many keys have the same allowlist.
@lru_cache(maxsize=16_384)
def _lies_in(address: str, allowlist: tuple[str, ...]) -> bool:
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address.strip())
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in _networks(allowlist))


@lru_cache(maxsize=1024)
def _networks(allowlist: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return parse_networks(allowlist)
    except ValueError:
        return ()


def _parse_network(entry: str) -> IPv4Network | IPv6Network:
    _, slash, length = entry.partition("/")
    if slash and (not length.isascii() or not length.isdigit() or length != str(int(length))):
        # What ip_network would take for a netmask or hostmask; `/0.0.0.0` would then mean everybody.
        raise ValueError("a network is written address/length")
    network = ip_network(entry, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        address = network.network_address.ipv4_mapped
        return IPv4Network((str(address), network.prefixlen - MAPPED.prefixlen))
    return network
