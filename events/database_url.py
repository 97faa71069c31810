"""DATABASE_URL, checked before anything connects."""

from __future__ import annotations

from typing import Annotated

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator


def _readable(url: str) -> str:
    """Unchecked, libpq would quote what it can't read, password included, at every try to connect."""
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        raise ValueError("must be a postgresql:// URL or another connection string of libpq") from None
    return url


DatabaseUrl = Annotated[str, AfterValidator(_readable)]


def password_in(url: str) -> str | None:
    """The password that stands in it, if one does."""
    password = conninfo_to_dict(url).get("password")
    return None if password is None else str(password)
