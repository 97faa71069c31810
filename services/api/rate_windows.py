"""How much of a lineage's hour is used: what this worker has admitted, exactly, and what the others say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from events.totals import HOUR_SECONDS, WindowCount, hour_number
from services.api.known_key import KnownKey

#: Others learn of an admission at the latest so long after it, and the time that sending takes.
PUBLISH_SECONDS = 240.0


#: How `node_windows` finds a lineage.
Mark = tuple[int, int]


class Neighbours(Protocol):
    """The other workers of this node."""

    def hear(self, window: Window) -> None:
        """Merge what they have counted in the window."""
        ...

    def tell(self, window: Window) -> None:
        """Show them what was counted here."""
        ...


class Window:
    """One lineage's clock hour. A node's count only grows, so the highest that was heard of it is right."""

    __slots__ = (
        "_counts",
        "_last_used_ms",
        "hour",
        "is_due",
        "last_key_id",
        "last_used_seconds",
        "limit",
        "lineage_id",
        "mark",
        "others",
        "own",
        "place",
        "published",
        "reported",
    )

    def __init__(self, lineage_id: str, hour: int) -> None:
        self.lineage_id = lineage_id
        self.hour = hour
        #: That of the key that was admitted last; every key of a lineage has the same.
        self.limit = 0
        self.own = 0
        self.published = 0
        self.others = 0
        self.reported = 0
        self.is_due = False
        self.mark: Mark | None = None
        #: Where `node_windows` keeps it, in this worker's own table.
        self.place: int | None = None
        #: The key that was admitted last, and when. Most lineages have one: dicts are made when needed.
        self.last_key_id = ""
        self.last_used_seconds = 0.0
        self._last_used_ms: dict[str, int] | None = None
        self._counts: dict[tuple[str, str], int] | None = None

    @property
    def used(self) -> int:
        """A request that was both validated and reported counts once."""
        validated = self.own + self.others
        return validated if validated > self.reported else self.reported

    @property
    def last_used_ms(self) -> dict[str, int]:
        """When each key was admitted last, ms since 1970."""
        if not self.last_key_id:
            return {}
        return {**(self._last_used_ms or {}), self.last_key_id: int(self.last_used_seconds * 1000)}

    def merge(self, kind: str, node_id: str, count: int) -> None:
        """What another node has counted: in any order, and as often as it comes."""
        if self._counts is None:
            self._counts = {}
        more = count - self._counts.get((kind, node_id), 0)
        if more <= 0:
            return
        self._counts[kind, node_id] = count
        if kind == "validations":
            self.others += more
        else:
            self.reported += more

    def use(self, key_id: str) -> None:
        """Another key of the lineage is the one that was admitted last."""
        if self.last_key_id:
            self._last_used_ms = self.last_used_ms
        self.last_key_id = key_id

    def is_worth_publishing(self) -> bool:
        """The first admission at once, then by hundredths of what is left: the nearer the end, the sooner."""
        unpublished = self.own - self.published
        if unpublished <= 0:
            return False
        return self.published == 0 or unpublished >= (self.limit - self.used) // 100


class RateWindows:
    """This worker's view of all windows of the hour. Deciding is O(1) and asks nobody.

    `on_due` is called with each window whose count is to be published now: once, until `publish_done`.
    """

    def __init__(
        self, node_id: str, on_due: Callable[[Window], None], neighbours: Neighbours | None = None
    ) -> None:
        self.node_id = node_id
        self._on_due = on_due
        self._neighbours = neighbours
        self._hour = 0
        self._ends_at_seconds = 0.0
        self._windows: dict[str, Window] = {}
        #: Of the next hour, from nodes whose clocks are ahead of ours.
        self._ahead: dict[str, Window] = {}
        self._over: list[dict[str, Window]] = []
        #: Windows with unpublished admissions, and since when (seconds since 1970), oldest first.
        self._unpublished: dict[Window, float] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def admit(self, key: KnownKey, now_seconds: float) -> bool:
        """Count one more request with this key, unless its lineage has none left in this hour."""
        if now_seconds >= self._ends_at_seconds:
            self._turn(now_seconds)
        lineage_id = key.lineage_id
        window = self._windows.get(lineage_id)
        if window is None:
            window = self._windows[lineage_id] = Window(lineage_id, self._hour)
        if self._neighbours is not None:
            self._neighbours.hear(window)
        limit = key.rate_limit_per_hour
        passes = window.own + window.others < limit and window.reported < limit
        if passes:
            window.limit = limit
            window.own += 1
            if window.last_key_id != key.key_id:
                window.use(key.key_id)
            window.last_used_seconds = now_seconds
            if window.own - window.published == 1:
                self._unpublished[window] = now_seconds
            if self._neighbours is not None:
                self._neighbours.tell(window)
        if not window.is_due and window.is_worth_publishing():
            self._due(window)
        return passes

    def remaining(self, key: KnownKey, now_seconds: float) -> int:
        """How many more requests of the key's lineage pass in this hour."""
        if now_seconds >= self._ends_at_seconds:
            self._turn(now_seconds)
        limit = key.rate_limit_per_hour
        window = self._windows.get(key.lineage_id)
        left = limit if window is None else limit - window.used
        return left if left > 0 else 0

    def learn(self, counter: WindowCount, now_seconds: float) -> None:
        """Merge what a node says. One's own counts, and hours other than this and the next, say nothing."""
        if now_seconds >= self._ends_at_seconds:
            self._turn(now_seconds)
        if counter.node_id == self.node_id:
            return
        if counter.hour == self._hour:
            windows = self._windows
        elif counter.hour == self._hour + 1:
            windows = self._ahead
        else:
            return
        window = windows.get(counter.lineage_id)
        if window is None:
            window = windows[counter.lineage_id] = Window(counter.lineage_id, counter.hour)
        window.merge(counter.kind, counter.node_id, counter.count)
        if not window.is_due and window.is_worth_publishing():
            self._due(window)

    def count_of(self, window: Window) -> WindowCount:
        """What this worker has to say of the window."""
        return WindowCount(
            node_id=self.node_id,
            kind="validations",
            lineage_id=window.lineage_id,
            hour=window.hour,
            count=window.own,
            last_used=window.last_used_ms,
        )

    def publish_done(self, window: Window, count: int, now_seconds: float) -> None:
        """So much of the window is in the log; it becomes due again, should more be worth it already."""
        window.is_due = False
        window.published = max(window.published, count)
        self._unpublished.pop(window, None)
        if window.own > window.published:
            self._unpublished[window] = now_seconds
            if window.is_worth_publishing():
                self._due(window)

    def unpublished(self) -> list[Window]:
        """Every window with admissions that the log doesn't have."""
        return list(self._unpublished)

    def sweep(self, now_seconds: float, most: int = 1000) -> None:
        """Make due what has waited too long, and forget so many windows of hours that are over."""
        if now_seconds >= self._ends_at_seconds:
            self._turn(now_seconds)
        for window in list(self._overdue(now_seconds)):
            if not window.is_due:
                self._due(window)
        while self._over and most:
            if self._over[-1]:
                self._over[-1].popitem()
                most -= 1
            else:
                self._over.pop()

    def _overdue(self, now_seconds: float) -> Iterator[Window]:
        for window, since_seconds in self._unpublished.items():
            if now_seconds - since_seconds < PUBLISH_SECONDS:
                return
            yield window

    def _turn(self, now_seconds: float) -> None:
        """The hour is over. Forgetting all its windows at once would keep a request waiting."""
        hour = hour_number(now_seconds)
        is_next = hour == self._hour + 1
        self._over.append(self._windows)
        self._windows, self._ahead = (self._ahead if is_next else {}), {}
        self._hour = hour
        self._ends_at_seconds = float((hour + 1) * HOUR_SECONDS)

    def _due(self, window: Window) -> None:
        window.is_due = True
        self._on_due(window)
