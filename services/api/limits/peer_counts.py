"""What others have counted: the highest count of each node, and their sums in the node's tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from events.totals import WindowCount
from services.api.limits.lineage_counts import raise_others, raise_own
from services.api.limits.slot import LINEAGE, mark_of
from services.api.limits.window_tables import WindowTables


@dataclass(slots=True)
class _LineageCounts:
    """By kind and node: a node's count only grows, so the highest that was heard of it is right."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    validations: int = 0
    reports: int = 0

    def merge(self, counter: WindowCount) -> bool:
        """In any order, and as often as it comes. False: it says nothing new."""
        node = counter.kind, sys.intern(counter.node_id)
        more = counter.count - self.counts.get(node, 0)
        if more <= 0:
            return False
        self.counts[node] = counter.count
        if counter.kind == "validations":
            self.validations += more
        else:
            self.reports += more
        return True


class PeerCounts:
    """Merges counters of this window and of the next, which nodes have whose clocks are ahead.

    It begins with nothing when the follower starts, and hears all of the window again; until then the sums
    that stand in the table are the higher ones, and stay.
    """

    def __init__(self, tables: WindowTables, node_id: str) -> None:
        self._tables = tables
        self._node_id = node_id
        self._windows: dict[int, dict[str, _LineageCounts]] = {}

    def learn(self, counter: WindowCount, now_seconds: float) -> None:
        """Merge what a node says; other windows than this and the next say nothing."""
        current = self._tables.number(now_seconds)
        if counter.hour not in (current, current + 1):
            return
        for number in [number for number in self._windows if number < current]:
            del self._windows[number]
        if counter.node_id == self._node_id:
            table = self._tables.table(counter.hour)
            raise_own(table, table.find_or_add(LINEAGE, mark_of(counter.lineage_id)), counter.count)
            return
        lineages = self._windows.setdefault(counter.hour, {})
        counts = lineages.get(counter.lineage_id)
        if counts is None:
            counts = lineages[counter.lineage_id] = _LineageCounts()
        if counts.merge(counter):
            table = self._tables.table(counter.hour)
            slot = table.find_or_add(LINEAGE, mark_of(counter.lineage_id))
            raise_others(table, slot, counts.validations, counts.reports)
