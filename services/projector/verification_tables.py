"""The tables of the projector as an auditor compares them: copied to disk, dealt out by their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from events.keeper.snapshot import Copied, Snapshot, Table
from events.keeper.verification import POSITIONS, Progress, ends_to_compare
from events.queries import load_queries
from services.projector.rows import Row

__all__ = ["TABLES", "Progress", "Tables", "differences", "ends_to_compare", "table"]

_QUERIES = {
    **load_queries("services.projector"),
    **load_queries("services.projector", "usage.sql"),
    **load_queries("services.projector", "hourly.sql"),
}

#: The columns that say which row it is, of each query that an auditor compares.
_PLACES = {
    "all_lineages": slice(1),
    "all_keys": slice(2),
    "all_events": slice(1, 3),
    "all_hours": slice(2),
    "all_months": slice(3),
    "all_days": slice(3),
    "all_last_uses": slice(1),
    "all_progress": slice(1),
    "all_published": slice(2),
    "all_unpublished": slice(2),
    "all_totals": slice(2),
    "all_filled": slice(1),
}

TABLES: Mapping[str, Copied] = {
    "positions": POSITIONS,
    **{name: Copied(_QUERIES[name], place) for name, place in _PLACES.items()},
}

Tables = Snapshot
Place = TypeVar("Place", int, str, tuple[Any, ...])


async def table(tables: Tables, query: str) -> Table:
    """The rows of a query of this package, as they were at the moment of the snapshot."""
    return tables[query]


def differences(
    wanted: Mapping[Place, Row],
    found: Table,
    place_of: Callable[[Row], Place],
    name: Callable[[Place], str],
) -> Iterator[str]:
    """Rows that are missing, too many or different. Names columns, never what is in them.

    Takes the rows of Postgres as they come from disk, so that only what is `wanted` is held in memory.
    """
    missing = set(wanted)
    for row in found.rows:
        place = place_of(row)
        missing.discard(place)
        if place not in wanted:
            yield f"{name(place)} is in Postgres, but does not follow from the log"
        elif wanted[place] != row:
            pairs = zip(found.columns, wanted[place], row, strict=True)
            yield f"{name(place)} differs in " + ", ".join(column for column, a, b in pairs if a != b)
    for place in missing:
        yield f"{name(place)} is missing in Postgres"
