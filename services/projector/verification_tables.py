"""The tables of the projector as an auditor compares them: copied to disk, dealt out by their places."""

from __future__ import annotations

from collections.abc import Mapping

from events.keeper.snapshot import Copied
from events.keeper.verification import POSITIONS
from events.queries import load_queries

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
