"""Many ids, hours or numbers as one parameter of a query."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime


def array_text(elements: Iterable[str | datetime | int]) -> str:
    """An array as Postgres reads it; the query casts it. Only for what needs no quotes: no text of anybody's.

    As a list, psycopg looks for the type of each element, which takes ten times as long.
    """
    return f"{{{','.join(map(str, elements))}}}"
