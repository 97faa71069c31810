"""The uses of a log, counted anew without the SQL that has counted them before, in bounded memory.

Every use goes to disk, dealt out by identity; then the identities of one share at a time are judged, and
what they come to goes to disk again, dealt out by the place of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

from events.keeper.spool import SHARES, Spool
from events.lineage import Lineage
from events.log import Record
from events.usage import KeyUsed
from events.usage_identity import NEAR_PERIODS, period_of
from services.projector.rows import Row
from services.projector.usage_judging import judge
from services.projector.usage_rows import Facts

Identity = tuple[str, str]


class CountedUse(NamedTuple):
    """Where a use stands, and what it states."""

    partition: int
    period: int
    facts: Facts

    @property
    def rank(self) -> tuple[bool, int]:
        return self.partition != self.facts.home, self.partition

    def is_near(self, other: CountedUse) -> bool:
        return abs(self.period - other.period) <= NEAR_PERIODS


class SpooledRows:
    """The rows of a table by place; several of one place become one."""

    def __init__(self, combine: Callable[[Row, Row], Row]) -> None:
        self._combine = combine
        self._spool = Spool[Row, Row]()
        self._rows: dict[Row, Row] = {}

    def add(self, place: Row, values: Row) -> None:
        known = self._rows.get(place)
        self._rows[place] = values if known is None else self._combine(known, values)

    def write(self) -> None:
        """Put what was added on disk."""
        for place, values in self._rows.items():
            self._spool.add(place, values)
        self._rows.clear()

    def share(self, number: int) -> Mapping[Row, Row]:
        """Whole rows, place and values, of a share."""
        rows: dict[Row, Row] = {}
        for place, values in self._spool.share(number):
            rows[place] = self._combine(rows[place], values) if place in rows else values
        return {place: (*place, *values) for place, values in rows.items()}

    def __enter__(self) -> Self:
        self._spool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.__exit__(kind, error, trace)


class CountedUses:
    """What the uses of a log come to: `add` every record, `count`, then look at the tables."""

    def __init__(self, lineages: Iterable[Lineage], partitions: int) -> None:
        named = sorted(
            ((key.key_id, lineage.lineage_id) for lineage in lineages for key in lineage.keys), reverse=True
        )
        self._lineage_ids = dict(named)
        self._partitions = partitions
        self._opened = ExitStack()
        self._uses = self._opened.enter_context(Spool[Identity, CountedUse]())
        self.hours = self._opened.enter_context(SpooledRows(_added))
        self.months = self._opened.enter_context(SpooledRows(_added))
        self.days = self._opened.enter_context(SpooledRows(_added))
        self.last = self._opened.enter_context(SpooledRows(max))
        self.progress = self._opened.enter_context(SpooledRows(max))

    def add(self, record: Record) -> None:
        """The next record of its partition."""
        self.progress.add((record.partition,), (datetime.fromtimestamp(record.timestamp / 1000, UTC),))
        for event in judge(record):
            if isinstance(event, KeyUsed) and event.data.key_id in self._lineage_ids:
                self._add(record, event)

    def count(self) -> None:
        """Judge all that was added."""
        self.progress.write()
        for number in range(SHARES):
            of_identity: dict[Identity, list[CountedUse]] = {}
            for identity, use in self._uses.share(number):
                of_identity.setdefault(identity, []).append(use)
            for uses in of_identity.values():
                for use, counts in judged(uses):
                    self._count(use.facts, counts=counts)
            for rows in (self.hours, self.months, self.days, self.last):
                rows.write()

    def _add(self, record: Record, event: KeyUsed) -> None:
        key_id = event.data.key_id
        use = CountedUse(
            record.partition,
            period_of(record.timestamp),
            Facts.of(event, self._lineage_ids[key_id], self._partitions),
        )
        self._uses.add((key_id, event.id), use)

    def _count(self, facts: Facts, *, counts: bool) -> None:
        sums = (
            int(counts),
            *(
                counts * number
                for number in (facts.errors, facts.predictions, facts.compute_us, facts.response_time_us)
            ),
        )
        hour, day = facts.time.replace(minute=0, second=0, microsecond=0), facts.time.date()
        self.hours.add((facts.key_id, hour), (facts.lineage_id, 1 if counts else 2, *sums))
        self.last.add((facts.key_id,), (facts.time,))
        if counts:
            self.months.add((facts.key_id, day.replace(day=1), facts.endpoint), (facts.lineage_id, *sums))
            self.days.add((day, facts.service_id, facts.home), sums)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def judged(uses: Iterable[CountedUse]) -> Iterator[tuple[CountedUse, bool]]:
    """Of the uses of one identity, in the order of each partition, those that nothing near precedes there.

    Beside each whether it counts: nothing near precedes it in another partition either.
    """
    firsts: dict[tuple[int, int], CountedUse] = {}
    for use in uses:
        firsts.setdefault((use.partition, use.period), use)
    before: list[CountedUse] = []
    for use in firsts.values():
        if not any(other.partition == use.partition and other.is_near(use) for other in before):
            yield use, not any(other.rank < use.rank and other.is_near(use) for other in firsts.values())
        before.append(use)


def _added(one: Row, other: Row) -> Row:
    """Numbers are added up; what is no number is the same in both."""
    return tuple(a + b if isinstance(a, int) else a for a, b in zip(one, other, strict=True))
