"""Does a record of `keys.usage` count? The record alone says so, so a rebuild counts the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from events.dead_letters import DeadLetter
from events.errors import UnreadableRecord
from events.log import Record
from events.usage import KeyUsed
from events.usage_records import OversizedRecord, decode_uses

DAY_MS = 24 * 3_600_000
#: How long before its append a use may have happened, and how long after: clocks differ, queues wait.
OLDEST_MS = 35 * DAY_MS
NEWEST_MS = 3_600_000
#: What is wrong with a batch is told of so many of its events: a header has to hold it.
ERRORS_TOLD = 10


def judge(record: Record) -> Sequence[KeyUsed | DeadLetter]:
    """Each use that the record states, or what is wrong with it. Whether its key is known is asked later.

    Nearly always one. Of a batch each use counts by itself, so that a bad one takes no good one with it.
    """
    return [_judged(record, use) for use in decode_uses(record)]


def unknown_key(record: Record, event: KeyUsed) -> DeadLetter:
    """A use of a key that nobody has created, as far as the log goes."""
    return DeadLetter(record, "unknown key", f"unknown key: nobody has created {event.data.key_id}")


def one_letter_each(letters: Iterable[DeadLetter]) -> Sequence[DeadLetter]:
    """One for each record, because its coordinates are its identity: with all that is wrong in it."""
    of_record: dict[int, list[DeadLetter]] = {}
    for letter in letters:
        of_record.setdefault(id(letter.record), []).append(letter)
    return [_merged(same) if len(same) > 1 else same[0] for same in of_record.values()]


def _judged(record: Record, use: KeyUsed | UnreadableRecord) -> KeyUsed | DeadLetter:
    if isinstance(use, OversizedRecord):
        return DeadLetter(record, "oversized", f"oversized: {use}")
    if isinstance(use, UnreadableRecord):
        return DeadLetter(record, "unreadable", f"unreadable record: {use}")
    late_ms = record.timestamp - _milliseconds(use.time)
    if late_ms > OLDEST_MS:
        return DeadLetter(record, "too old", f"too old: appended {late_ms // DAY_MS} days after its time")
    if -late_ms > NEWEST_MS:
        return DeadLetter(
            record, "in the future", f"in the future: appended {-late_ms // 60_000} minutes before its time"
        )
    return use


def _merged(letters: Sequence[DeadLetter]) -> DeadLetter:
    errors = [letter.error for letter in letters[:ERRORS_TOLD]]
    if len(letters) > ERRORS_TOLD:
        errors.append(f"and {len(letters) - ERRORS_TOLD} more")
    return DeadLetter(letters[0].record, letters[0].reason, "; ".join(errors))


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
