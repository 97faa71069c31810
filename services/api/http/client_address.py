"""Whose address a request comes from, where proxies that we trust stand in between."""

from __future__ import annotations

import re
from collections.abc import Iterable, MutableMapping, Sequence
from functools import lru_cache
from typing import Any

from services.api.validation.addresses import Network, parse_address, parse_networks

#: An address that nobody can tell: it lies in no allowlist.
UNKNOWN = ""

#: Longer lists of addresses come from no proxy, and are not worth remembering.
LONGEST_HEADER = 4096

_FORWARDED, _X_FORWARDED_FOR = b"forwarded", b"x-forwarded-for"
# RFC 7239: elements between commas, pairs between semicolons; quoted texts may hold both. Some proxies write
# addresses with colons and brackets unquoted.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s",;]+)'
_PIECE = re.compile(rf"[ \t]*(?:([,;])|({_TOKEN})[ \t]*=[ \t]*({_VALUE}))[ \t]*")


class ClientAddress:
    """Finds it: the peer's own, or, where the peer is trusted, what the proxies say.

    Each proxy adds the address that it was asked from at the right. So the list is walked from right to left
    past those that are trusted, and the first other one is the client: whatever stands further left was
    written by that client. An entry that is no address ends the walk, and the client is unknown.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        """Raises `ValueError` for what is no address and no network."""
        self._trusted = parse_networks(trusted_proxies)
        self._behind = lru_cache(maxsize=16_384)(self._walk_all)

    def __call__(self, scope: MutableMapping[str, Any]) -> str:
        """The address as text; empty where nobody can tell it."""
        peer: str = scope["client"][0] if scope["client"] else UNKNOWN
        if not self._trusted or not self._is_trusted(peer):
            return peer
        forwarded = _joined(scope["headers"], _FORWARDED)
        x_forwarded_for = _joined(scope["headers"], _X_FORWARDED_FOR)
        if forwarded is None and x_forwarded_for is None:
            return peer
        if len(forwarded or "") > LONGEST_HEADER or len(x_forwarded_for or "") > LONGEST_HEADER:
            return UNKNOWN
        return self._behind(forwarded, x_forwarded_for)

    def _walk_all(self, forwarded: str | None, x_forwarded_for: str | None) -> str:
        """What the headers agree on.

        Most proxies write one of them and pass the other one on as the client wrote it. Which is which can't
        be told, so where they differ nobody is believed.
        """
        found = set()
        if forwarded is not None:
            found.add(self._walk(_forwarded_addresses(forwarded)))
        if x_forwarded_for is not None:
            found.add(self._walk(x_forwarded_for.split(",")))
        return found.pop() if len(found) == 1 else UNKNOWN

    def _walk(self, entries: Sequence[str]) -> str:
        client = UNKNOWN
        for entry in reversed(entries):
            address = parse_address(entry)
            if address is None:
                return UNKNOWN
            client = str(address)
            if not any(address in network for network in self._trusted):
                break
        return client

    def _is_trusted(self, peer: str) -> bool:
        address = parse_address(peer)
        return address is not None and any(address in network for network in self._trusted)


def is_everybody(network: Network) -> bool:
    """Whether trusting this network would be trusting whoever asks."""
    return network.prefixlen == 0


def _joined(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    """All lines of a header as one, in order; None where there is none."""
    lines = [value.decode("latin-1") for name, value in headers if name == wanted]
    return ",".join(lines) if lines else None


def _forwarded_addresses(header: str) -> Sequence[str]:
    """What each element says after `for=`; nobody (an empty text) where it can't be understood."""
    elements: list[list[tuple[str, str]]] = [[]]
    at = 0
    while at < len(header):
        piece = _PIECE.match(header, at)
        if piece is None:
            return [UNKNOWN]
        separator, name, value = piece.groups()
        if separator == ",":
            elements.append([])
        elif separator is None:
            elements[-1].append((name.lower(), value))
        at = piece.end()
    return [_only_for(pairs) for pairs in elements if pairs] or [UNKNOWN]


def _only_for(pairs: Sequence[tuple[str, str]]) -> str:
    named = [value for name, value in pairs if name == "for"]
    return named[0] if len(named) == 1 else UNKNOWN
