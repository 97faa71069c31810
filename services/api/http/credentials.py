"""One way to read a credential, wherever it comes from."""

from __future__ import annotations

from collections.abc import Collection

#: What people copy along with a credential, and libraries add to it.
BLANKS = " \t\r\n"

BEARER = (b"bearer",)


def read_credential(authorization: bytes, schemes: Collection[bytes] = BEARER) -> bytes | None:
    """The credential behind one of these schemes (lower case), empty where nothing follows the scheme.

    None where the header has another scheme. Schemes are written in any case, with any blanks behind them.
    """
    scheme, *credential = authorization.split(None, 1) or [b""]
    if scheme.lower() not in schemes:
        return None
    return credential[0].strip() if credential else b""
