"""Answers whose headers are bytes already: a server that offers `EXTENSION` writes them as they stand.

uvicorn's own `send` looks at every header of every answer again, which takes longer than deciding does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

Header = tuple[bytes, bytes]

#: Where the server puts its `Write` among the ASGI extensions of a request.
EXTENSION = "hokusai.prebuilt_response"

#: Takes the scope of the request (no HEAD), the status, the lines of the headers and the body. The lines hold
#: `content-length`, and neither `connection` nor `transfer-encoding`. False: not now, and nothing is written.
Write = Callable[[MutableMapping[str, Any], int, bytes, bytes], bool]


def header_lines(headers: Iterable[Header]) -> bytes:
    """The headers as they go over the wire."""
    return b"".join(b"%s: %s\r\n" % header for header in headers)


def parse_header_lines(lines: bytes) -> list[Header]:
    """The same as ASGI has them."""
    pairs = (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, _, value in pairs]


def write_prebuilt(scope: MutableMapping[str, Any], status: int, lines: bytes, body: bytes) -> bool:
    """Whether the server has written this answer; if not, it is to be sent as any other."""
    extensions = scope.get("extensions")
    if extensions is None or (write := extensions.get(EXTENSION)) is None:
        return False
    return write(scope, status, lines, body)  # type: ignore[no-any-return]
