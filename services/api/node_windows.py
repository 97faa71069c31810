"""What the workers of one node tell each other of their windows, in memory: at once, whatever Kafka does.

Each writes a table of its own, on its seat, that the others map: which start of a worker, which hour, and
then lineage by lineage how many requests it has admitted. It is one more way to hear of the same counts that
go through `ratelimit.counters`, so nothing is counted twice, and nothing depends on it.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

from services.api.node import Node
from services.api.rate_windows import Mark, Window

#: Of a worker's table. Lineages beyond half of it are told through the log alone: fuller, it would be slow.
SLOTS = 1 << 16
_MOST = SLOTS // 2
#: Of a window that the table has no room for; no slot begins there.
_NOWHERE = 0
_HOUR, _NODE_HIGH, _NODE_LOW, _FIRST_SLOT = range(4)
#: How many numbers a seat needs for a table: three a slot (the lineage's mark, and the count).
NUMBERS = _FIRST_SLOT + 3 * SLOTS
_NOTHING = memoryview(array("q", bytes(8 * NUMBERS)))


class NodeWindows:
    """This worker's table, and those of its neighbours. Each look costs less than a microsecond."""

    def __init__(self, node: Node, node_id: str) -> None:
        self._node = node
        self._mark = _signed(bytes.fromhex(node_id))
        self._own: memoryview | None = None
        self._used = 0
        self._neighbours: list[_Neighbour] = []

    def sit(self) -> None:
        """Begin a table on the seat that the worker has taken."""
        assert self._node.own is not None
        self._own = self._node.own.tallies
        self._clear(0)
        self.look_around()

    def look_around(self) -> None:
        """See which neighbours there are now; those that died have counted what they have counted."""
        self._neighbours = [
            _Neighbour(seat.tallies) for seat in self._node.seats() if seat is not self._node.own
        ]

    def hear(self, window: Window) -> None:
        """Merge what the neighbours have counted in the window."""
        for neighbour in self._neighbours:
            neighbour.tell(window, _mark_of(window))

    def tell(self, window: Window) -> None:
        """Show the neighbours what was counted here."""
        table = self._own
        if table is None:
            return
        if table[_HOUR] != window.hour:
            if window.hour < table[_HOUR]:
                return
            self._clear(window.hour)
        if window.place is None:
            window.place = self._place(table, _mark_of(window))
        if window.place != _NOWHERE:
            # Last: a slot without a count is read as free.
            table[window.place + 2] = window.own

    def _place(self, table: memoryview, mark: Mark) -> int:
        """Where the table has the lineage, or has room for it."""
        place = _find(table, mark)
        if table[place + 2] == 0:
            if self._used == _MOST:
                return _NOWHERE
            self._used += 1
            table[place], table[place + 1] = mark
        return place

    def _clear(self, hour: int) -> None:
        assert self._own is not None
        self._own[_HOUR] = 0  # nobody believes a table while it changes
        self._own[:] = _NOTHING
        self._own[_NODE_HIGH], self._own[_NODE_LOW] = self._mark
        self._used = 0
        self._own[_HOUR] = hour


class _Neighbour:
    """The table of another worker: read only."""

    def __init__(self, table: memoryview) -> None:
        self._table = table
        self._mark: Mark = (0, 0)
        self._node_id = ""

    def tell(self, window: Window, mark: Mark) -> None:
        table = self._table
        if table[_HOUR] != window.hour:
            return
        node = table[_NODE_HIGH], table[_NODE_LOW]
        count = table[_find(table, mark) + 2]
        # Another worker may have taken the seat, or the hour may have turned, while we looked.
        if count and table[_HOUR] == window.hour and node == (table[_NODE_HIGH], table[_NODE_LOW]):
            if node != self._mark:
                self._mark, self._node_id = node, _hex(node)
            window.merge("validations", self._node_id, count)


def _find(table: memoryview, mark: Mark) -> int:
    """The slot of that lineage, or the free one that it would take. Tables are never full."""
    high, low = mark
    slot = low % SLOTS
    while table[place := _FIRST_SLOT + 3 * slot]:
        if table[place] == high and table[place + 1] == low:
            return place
        slot = (slot + 1) % SLOTS
    return place


def _mark_of(window: Window) -> Mark:
    if window.mark is None:
        window.mark = _signed(blake2b(window.lineage_id.encode(), digest_size=16).digest())
    return window.mark


def _signed(digest: bytes) -> Mark:
    return int.from_bytes(digest[:8], signed=True), int.from_bytes(digest[8:], signed=True)


def _hex(mark: Mark) -> str:
    return b"".join(half.to_bytes(8, signed=True) for half in mark).hex()
