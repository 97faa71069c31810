"""The tables of a node as one of its processes has them: what a worker does, and what the follower does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from events.totals import HOUR_SECONDS, WindowCount
from services.api.limits.due import DueSignal
from services.api.limits.lineage_counts import acknowledge
from services.api.limits.peer_counts import PeerCounts
from services.api.limits.rate_limits import RateLimits
from services.api.limits.slot import LINEAGE, OWN, Slot, mark_of
from services.api.limits.window_table import WindowTable
from services.api.limits.window_tables import WindowTables
from tests.builders import fresh_id

HOUR = 500_000
BEGIN = float(HOUR * HOUR_SECONDS)
LINEAGE_ID, OTHER_LINEAGE_ID = fresh_id(), fresh_id()
ME = "me"


@dataclass(frozen=True, slots=True)
class AKey:
    """What limits a request."""

    rate_limit_per_hour: int
    lineage_id: str
    key_id: str


def a_key(limit: int = 10, lineage_id: str = LINEAGE_ID, key_id: str | None = None) -> AKey:
    """A key of the lineage, by default the one it began with."""
    return AKey(limit, lineage_id, key_id or lineage_id)


def a_count(count: int, node_id: str = "another", **facts: Any) -> WindowCount:
    """What a node says."""
    told = {"kind": "validations", "lineage_id": LINEAGE_ID, "hour": HOUR, **facts}
    return WindowCount(node_id=node_id, count=count, **told)


class NodeProcess:
    """One process of the node in that folder. Nobody hears what becomes due: the tables say it."""

    def __init__(self, folder: Path, first_slots: int = 64, remembered: int = 1000) -> None:
        self.tables = WindowTables(folder, first_slots=first_slots)
        self.signal = DueSignal(folder)
        self.limits = RateLimits(self.tables, self.signal, remembered)
        self.peers = PeerCounts(self.tables, ME)

    @property
    def table(self) -> WindowTable:
        return self.tables.table(HOUR)

    def admits(self, key: AKey, count: int = 1, at: float = BEGIN) -> list[bool]:
        return [self.limits.admit(key, at) for _ in range(count)]

    def left(self, key: AKey, at: float = BEGIN) -> int:
        return self.limits.remaining(key, at)

    def learns(self, counter: WindowCount, at: float = BEGIN) -> None:
        self.peers.learn(counter, at)

    def slot(self, lineage_id: str = LINEAGE_ID, hour: int = HOUR) -> Slot:
        slot = self.tables.table(hour).find(LINEAGE, mark_of(lineage_id))
        assert slot is not None
        return slot

    def due(self) -> list[int]:
        """The counts that are due now."""
        return [self._at(place).numbers[OWN] for place in self.table.due()]

    def unpublished(self) -> list[int]:
        return [self._at(place).numbers[OWN] for place in self.table.unpublished()]

    def publishes(self) -> None:
        """The log has taken what was due."""
        for place in list(self.table.due()):
            slot = self._at(place)
            acknowledge(self.table, slot, slot.numbers[OWN])

    def close(self) -> None:
        self.signal.close()
        self.tables.close()

    def _at(self, place: int) -> Slot:
        slot = self.table.at(LINEAGE, place)
        assert slot is not None
        return slot


@contextmanager
def a_node() -> Iterator[NodeProcess]:
    """One in a folder of its own, for examples that a test makes many of."""
    with TemporaryDirectory() as folder:
        node = NodeProcess(Path(folder))
        try:
            yield node
        finally:
            node.close()
