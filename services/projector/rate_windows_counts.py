"""What a window holds, and what a counter makes of it: the highest count of each node, in any order."""

from __future__ import annotations

from typing import TypedDict

from events.clock import Clock
from events.codec import decode_total
from events.errors import UnreadableRecord
from events.totals import WindowCount, hour_number

#: For so long after its end an hour is kept.
HOURS_KEPT = 3

#: lineage_id, and whole hours since 1970.
WindowKey = tuple[str, int]


class Window(TypedDict):
    """One lineage's clock hour, as JSON keeps it: each node's kind and count, each key's last use (ms)."""

    nodes: dict[str, tuple[str, int]]
    last_used: dict[str, int]


def counter_in(key: bytes | None, value: bytes | None) -> WindowCount:
    """The counter that a record brings. Raises `UnreadableRecord`."""
    counter = decode_total(value)
    if not isinstance(counter, WindowCount):
        raise UnreadableRecord(f"{counter.type} is no counter")
    if key != counter.lineage_id.encode():
        # It may stand in the partition of another process, which would not know the other nodes.
        raise UnreadableRecord("the record key is not the lineage")
    return counter


def merge(window: Window, counter: WindowCount) -> Window:
    """The window after the counter; the same object where the counter says nothing new.

    A window that nobody has counted in yet may be an empty dict.
    """
    nodes, last_used = window.get("nodes", {}), window.get("last_used", {})
    _, count = nodes.get(counter.node_id, ("", -1))
    later = {key: at for key, at in counter.last_used.items() if at > last_used.get(key, -1)}
    if counter.count <= count and not later:
        return window
    node = (counter.kind, max(count, counter.count))
    return {"nodes": {**nodes, counter.node_id: node}, "last_used": {**last_used, **later}}


def oldest_hour(clock: Clock) -> int:
    """The oldest hour that is kept: those before it have been over for three hours."""
    return hour_number(clock.seconds()) - HOURS_KEPT
