"""The letters of a topic and what was noted about them, on disk: each letter once, in bounded memory."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from events.dead_letter_notes import Note, StoredLetter, read_letter
from events.log import Position, Record

_TABLES = """
CREATE TABLE letter (
    topic TEXT, partition INTEGER, record_offset INTEGER, reason TEXT, error TEXT, time TEXT,
    dlq TEXT, dlq_partition INTEGER, dlq_offset INTEGER,
    PRIMARY KEY (topic, partition, record_offset)
) WITHOUT ROWID;
CREATE TABLE note (
    topic TEXT, partition INTEGER, record_offset INTEGER, kind TEXT, actor TEXT, reason TEXT, read_to TEXT,
    appended_ms INTEGER,
    PRIMARY KEY (topic, partition, record_offset)
) WITHOUT ROWID;
"""

#: A letter repeats in the order of its partition; the last one is where a replay was refused again.
_KEEP_LETTER = """
INSERT INTO letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET reason = excluded.reason, error = excluded.error, time = excluded.time,
    dlq = excluded.dlq, dlq_partition = excluded.dlq_partition, dlq_offset = excluded.dlq_offset
"""

_KEEP_NOTE = """
INSERT INTO note VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET kind = excluded.kind, actor = excluded.actor, reason = excluded.reason,
    read_to = excluded.read_to, appended_ms = excluded.appended_ms
WHERE note.appended_ms <= excluded.appended_ms
"""

#: A replay that was refused again has a letter behind what the topic held when it was replayed.
_FIND = """
WITH found AS (
    SELECT letter.*, coalesce(kind, 'open') AS kind, actor, note.reason AS why,
           kind = 'replayed'
               AND dlq_offset >= coalesce(json_extract(read_to, '$."' || dlq_partition || '"'), 0)
               AS is_refused_again
    FROM letter LEFT JOIN note USING (topic, partition, record_offset)
), states AS (
    SELECT *, CASE WHEN is_refused_again THEN 'open' ELSE kind END AS state FROM found
)
SELECT topic, partition, record_offset, reason, error, time, dlq, dlq_partition, dlq_offset, state, actor, why
FROM states
WHERE (:topic IS NULL OR topic = :topic) AND (:partition IS NULL OR partition = :partition)
  AND (:record_offset IS NULL OR record_offset = :record_offset)
  AND (:reason IS NULL OR reason = :reason) AND (:since IS NULL OR time >= :since)
  AND (:until IS NULL OR time < :until) AND (:state IS NULL OR state = :state)
ORDER BY time, topic, partition, record_offset
"""

_ANY = dict.fromkeys(("topic", "partition", "record_offset", "reason", "since", "until", "state"))

Row = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant. `since` is included, `until` is not; both as letters state times."""

    topic: str | None = None
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A letter and its state: open, or what `actor` has done about it and why."""

    letter: StoredLetter
    state: str
    actor: str | None
    why: str | None


class LetterBook:
    """Letters and notes as they are read; open it with `with`. What it keeps is gone in the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hokusai-auth-dlq-")
        self._database = sqlite3.connect(f"{self._folder.name}/letters")
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)

    def add(self, records: Sequence[Record]) -> None:
        """The next records of a topic of dead letters, in the order of each partition."""
        read = [(record, read_letter(record)) for record in records]
        self._database.executemany(
            _KEEP_LETTER, (_letter_row(found) for _, found in read if isinstance(found, StoredLetter))
        )
        self._database.executemany(
            _KEEP_NOTE, (_note_row(record, found) for record, found in read if isinstance(found, Note))
        )

    def find(self, wanted: Filter) -> Iterator[Entry]:
        """The letters that are meant, by the time of their records."""
        return map(_entry, self._database.execute(_FIND, {**_ANY, **dataclasses.asdict(wanted)}))

    def count(self, wanted: Filter) -> int:
        """How many these are."""
        parameters = {**_ANY, **dataclasses.asdict(wanted)}
        row = self._database.execute(f"SELECT count(*) FROM ({_FIND})", parameters).fetchone()  # noqa: S608
        return int(row[0])

    def at(self, place: Position) -> Entry | None:
        """The letter of one record."""
        parameters = {
            **_ANY,
            "topic": place.topic,
            "partition": place.partition,
            "record_offset": place.offset,
        }
        row = self._database.execute(_FIND, parameters).fetchone()
        return None if row is None else _entry(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._folder.cleanup()


def _letter_row(letter: StoredLetter) -> Row:
    place, stands_at = letter.record, letter.stands_at
    return (
        *(place.topic, place.partition, place.offset, letter.reason, letter.error, letter.time),
        *(stands_at.topic, stands_at.partition, stands_at.offset),
    )


def _note_row(record: Record, note: Note) -> Row:
    place = note.record
    return (
        *(place.topic, place.partition, place.offset, note.kind, note.actor, note.reason),
        json.dumps(note.read_to),
        record.timestamp,
    )


def _entry(row: Sequence[Any]) -> Entry:
    topic, partition, offset, reason, error, time, dlq, dlq_partition, dlq_offset, state, actor, why = row
    letter = StoredLetter(
        record=Position(topic, partition, offset),
        reason=reason,
        error=error,
        time=time,
        stands_at=Position(dlq, dlq_partition, dlq_offset),
    )
    return Entry(letter, state, *((None, None) if state == "open" else (actor, why)))
