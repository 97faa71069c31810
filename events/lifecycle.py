"""A record of `keys.lifecycle` and what it does to its lineage: the same for every reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from events.codec import decode
from events.errors import UnreadableRecord
from events.keys import KeyEvent, KeyRotated
from events.lineage import Applied, Ignored, Lineage, Outcome, Parked, apply, park
from events.log import Record, oversized


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The record cannot be understood and belongs to no lineage that is known."""

    why: str


@dataclass(frozen=True, slots=True)
class Folded:
    """A record after the fold. `event` is None where the record could not be read."""

    event: KeyEvent | None
    outcome: Outcome | Unreadable

    @property
    def lineage(self) -> Lineage | None:
        """The lineage as the record leaves it, or None where the record changed nothing."""
        return self.outcome.lineage if isinstance(self.outcome, Applied | Parked) else None

    @property
    def is_dead_letter(self) -> bool:
        """Somebody has to look at this record: it was not read, or it closed its lineage."""
        return self.event is None or isinstance(self.outcome, Parked)

    @property
    def description(self) -> str:
        """One line for people: `applied`, or why not."""
        return "applied" if isinstance(self.outcome, Applied) else self.outcome.why


def read_event(record: Record) -> KeyEvent:
    """The event in a record of `keys.lifecycle`. Raises `UnreadableRecord`."""
    if why := oversized(record):
        raise UnreadableRecord(f"oversized: {why} when unpacked")
    event = decode(record.value)
    if not isinstance(event, KeyEvent):
        raise UnreadableRecord("not a lifecycle event")
    if record.key is None:
        raise UnreadableRecord("no record key")
    if record.key != event.partitionkey.encode():
        raise UnreadableRecord("record key differs from partitionkey")
    return event


def named_keys(event: KeyEvent) -> tuple[str, ...]:
    """The keys that the event says something about: beside the current one, all that its fold asks for."""
    if isinstance(event, KeyRotated):
        return event.data.key_id, event.data.new_key.key_id
    return (event.data.key_id,)


def fold(record: Record, lineage_of: Callable[[str], Lineage | None]) -> Folded:
    """Fold one record, given what is known of each lineage so far."""
    try:
        event = read_event(record)
    except UnreadableRecord as error:
        return Folded(None, fold_unreadable(record.key, str(error), lineage_of))
    return Folded(event, apply(lineage_of(event.partitionkey), event))


def fold_unreadable(
    key: bytes | None, why: str, lineage_of: Callable[[str], Lineage | None]
) -> Outcome | Unreadable:
    """An unreadable record under the key of a known lineage may be its revocation: close the lineage."""
    lineage = lineage_of(key.decode(errors="replace")) if key is not None else None
    if lineage is None:
        return Unreadable(why)
    if lineage.parked is not None:
        return Ignored("parked")
    return park(lineage, f"unreadable record: {why}")
