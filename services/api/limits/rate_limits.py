"""Whether one more request of a lineage passes in this window: decided by a worker, exact on its node."""

from __future__ import annotations

from fcntl import LOCK_EX, LOCK_UN, lockf
from typing import Protocol

from services.api.limits.due import DueSignal
from services.api.limits.lineage_counts import keep_key_time
from services.api.limits.slot import (
    DUE,
    KEY_HIGH,
    KEY_LOW,
    LIMIT,
    LINEAGE,
    OTHERS,
    OWN,
    PUBLISHED,
    REPORTED,
    UNPUBLISHED,
    USED_MS,
    Mark,
    Slot,
    is_worth_publishing,
    mark_of,
)
from services.api.limits.window_table import WindowTable
from services.api.limits.window_tables import WindowTables

#: Where so many keys are counted is remembered, and as many that were used before: about 5 MB.
REMEMBERED = 4096


class LimitedKey(Protocol):
    """What limits a request. Ids are UUIDs in lower case; all keys of a lineage share one window."""

    @property
    def key_id(self) -> str: ...
    @property
    def lineage_id(self) -> str: ...
    @property
    def rate_limit_per_hour(self) -> int: ...


class RateLimits:
    """A worker's view of the node's windows. Deciding takes one lock that is held for microseconds."""

    def __init__(self, tables: WindowTables, due: DueSignal, remembered: int = REMEMBERED) -> None:
        self._tables = tables
        self._descriptor = tables.locks.descriptor
        self._signal = due
        self._table: WindowTable | None = None
        self._ends_at_seconds = 0.0
        self._remembered = remembered
        #: The slot of a key's lineage and the key's id as a slot has it, by key id.
        self._recent: dict[str, tuple[Slot, Mark]] = {}
        self._older: dict[str, tuple[Slot, Mark]] = {}

    def admit(self, key: LimitedKey, now_seconds: float) -> bool:
        """Count one more request with this key, unless its lineage has none left in this window.

        Raises `NoRoomForCounts` where a lineage's first request finds no room to be counted.
        """
        if now_seconds >= self._ends_at_seconds:
            self._turn(now_seconds)
        remembered = self._recent.get(key.key_id)
        slot, mark = self._remember(key) if remembered is None else remembered
        limit = key.rate_limit_per_hour
        numbers = slot.numbers
        others, reported = numbers[OTHERS], numbers[REPORTED]
        # Counts only grow: who has used its window up is refused without a lock.
        if numbers[OWN] + others >= limit or reported >= limit:
            return False
        lockf(self._descriptor, LOCK_EX, 1, slot.stripe)
        try:
            own = numbers[OWN] + 1
            if own + others > limit:
                return False
            becomes_due = self._mark(slot, own, limit, others, reported)
            self._use_key(slot, mark, now_seconds)
            numbers[OWN] = own
        finally:
            lockf(self._descriptor, LOCK_UN, 1, slot.stripe)
        if becomes_due:
            self._tell(slot)
        return True

    def remaining(self, key: LimitedKey, now_seconds: float) -> int:
        """How many more requests of the key's lineage pass in this window."""
        if now_seconds >= self._ends_at_seconds:
            self._turn(now_seconds)
        remembered = self._recent.get(key.key_id)
        slot = self._found(key) if remembered is None else remembered[0]
        if slot is None:
            return key.rate_limit_per_hour
        numbers = slot.numbers
        used = max(numbers[OWN] + numbers[OTHERS], numbers[REPORTED])
        return max(0, key.rate_limit_per_hour - used)

    def _mark(self, slot: Slot, own: int, limit: int, others: int, reported: int) -> bool:
        """Mark what is to be published before it is counted. True: it has become due."""
        numbers, state = slot.numbers, slot.state
        if numbers[LIMIT] != limit:
            numbers[LIMIT] = limit
        if state[0] == DUE:
            return False
        becomes_due = is_worth_publishing(own, numbers[PUBLISHED], limit, others, reported)
        state[0] = DUE if becomes_due else UNPUBLISHED
        return becomes_due

    def _use_key(self, slot: Slot, mark: Mark, now_seconds: float) -> None:
        numbers = slot.numbers
        if numbers[KEY_LOW] != mark[1] or numbers[KEY_HIGH] != mark[0]:
            assert self._table is not None
            keep_key_time(self._table, slot)
            numbers[USED_MS] = 0  # the id is not to be believed while it is half written
            numbers[KEY_HIGH], numbers[KEY_LOW] = mark
        numbers[USED_MS] = int(now_seconds * 1000)

    def _tell(self, slot: Slot) -> None:
        """Nobody listens, or not fast enough: the follower looks for it by itself."""
        assert self._table is not None
        if not self._signal.send(self._table.number, slot.place):
            self._table.tell_by_scan()

    def _remember(self, key: LimitedKey) -> tuple[Slot, Mark]:
        assert self._table is not None
        found = self._older.get(key.key_id)
        if found is None:
            found = self._table.find_or_add(LINEAGE, mark_of(key.lineage_id)), mark_of(key.key_id)
        if len(self._recent) >= self._remembered:
            self._older, self._recent = self._recent, {}
        self._recent[key.key_id] = found
        return found

    def _found(self, key: LimitedKey) -> Slot | None:
        assert self._table is not None
        older = self._older.get(key.key_id)
        return self._table.find(LINEAGE, mark_of(key.lineage_id)) if older is None else older[0]

    def _turn(self, now_seconds: float) -> None:
        """The window is over: go on in the one of this moment."""
        number = self._tables.number(now_seconds)
        self._table = self._tables.table(number)
        self._tables.forget(number)
        self._recent, self._older = {}, {}
        self._ends_at_seconds = self._tables.ends_at_seconds(number)
