"""`X-Request-ID`: taken from the caller or made here, told with every answer, logged, and kept in events."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from itertools import count

HEADER = b"x-request-id"

_PLAIN = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
#: A key, by mistake.
_LIKE_A_KEY = b"hk_"


class RequestIds:
    """Those of one process. Made ones are never made twice: a random beginning, and a number."""

    def __init__(self) -> None:
        self._beginning = secrets.token_hex(8).encode()
        self._line = b"x-request-id: %s-%%x\r\n" % self._beginning
        self._numbers = count(1)

    def make(self) -> bytes:
        return b"%s-%x" % (self._beginning, next(self._numbers))

    def line(self, given: bytes | None) -> bytes:
        """The header line of an answer."""
        if given is None:
            return self._line % next(self._numbers)
        return b"x-request-id: %s\r\n" % self.of(given)

    def headers(self, given: bytes | None) -> list[tuple[bytes, bytes]]:
        """The header of an answer, as ASGI has it."""
        return [(HEADER, self.of(given))]

    def of(self, given: bytes | None) -> bytes:
        """What the caller calls the request, where that is a plain name; else a new one."""
        if given is None or _LIKE_A_KEY in given or not _PLAIN.fullmatch(given):
            return self.make()
        return given


def given_in(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The caller's; of several the first."""
    return next((value for name, value in headers if name == HEADER), None)
