"""What is to be published that the follower was not told of: found in the tables themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from services.api.limits.due import Due
from services.api.limits.errors import NoRoomForCounts
from services.api.limits.window_tables import WindowTables

logger = logging.getLogger(__name__)

#: What is far from its limit is published when it is found: within 5 minutes, with the time to send it.
SCAN_SECONDS = 120.0
#: The topic keeps no counts of windows that are older.
_KEPT_WINDOWS = 3


class Scan:
    """Looks through the tables of a node, makes the next one in time and deletes those that are over."""

    def __init__(self, tables: WindowTables) -> None:
        self._tables = tables
        self._next_at_seconds = 0.0

    def unpublished(self) -> Iterator[Due]:
        """All counts that the log may not have, of windows that are over as well."""
        for number in self._tables.numbers():
            for place in self._tables.table(number).unpublished():
                yield Due(number, place)

    def new(self, now_seconds: float) -> Iterator[Due]:
        """What has become due unheard; from time to time, and at first, all that is unpublished."""
        if now_seconds >= self._next_at_seconds:
            self._next_at_seconds = now_seconds + SCAN_SECONDS
            self._prepare(now_seconds)
            self._delete(now_seconds)
            yield from self.unpublished()
        current = self._tables.number(now_seconds)
        for number in (current - 1, current, current + 1):
            table = self._tables.existing(number)
            if table is not None and table.take_untold():
                for place in table.due():
                    yield Due(number, place)

    def _prepare(self, now_seconds: float) -> None:
        """Make the next window's table before its first request, and say so in time if there is no room."""
        number = self._tables.number(now_seconds)
        if self._tables.ends_at_seconds(number) - now_seconds < 2 * SCAN_SECONDS:
            try:
                self._tables.table(number + 1)
            except NoRoomForCounts:
                logger.exception("the next window will refuse every request")

    def _delete(self, now_seconds: float) -> None:
        """Delete what is over, once the log has all of it or does not want it any more."""
        current = self._tables.number(now_seconds)
        for number in self._tables.numbers():
            is_over = now_seconds >= self._tables.ends_at_seconds(number) + SCAN_SECONDS
            is_published = next(self._tables.table(number).unpublished(), None) is None
            if (is_over and is_published) or number <= current - _KEPT_WINDOWS:
                self._tables.delete(number)
