"""Topics of dead letters as they are read: letters, and what operators have noted about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from events.log import Position, Record
from events.replays import parse_place

NoteKind = Literal["replayed", "skipped"]

#: Names the header that tells a note from a letter.
NOTE_HEADER = "note"


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A dead letter that was read: of which record, what is wrong with it, and where the letter stands.

    `time` is the append time of the record, as the letter states it. May repeat; `record` is its identity.
    """

    record: Position
    reason: str
    error: str
    time: str
    stands_at: Position


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody has done about a letter, and why.

    `read_to`: where each partition of the topic ended before that. A letter from there on is a newer one.
    """

    kind: NoteKind
    record: Position
    actor: str
    reason: str
    read_to: Mapping[int, int]


def read_letter(record: Record) -> StoredLetter | Note | None:
    """What a record of such a topic is; None for what is neither, which only a foreign writer appends."""
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    place = parse_place("{topic}/{partition}@{offset}".format_map({**_NO_PLACE, **headers}))
    if place is None:
        return None
    if NOTE_HEADER in headers:
        return _note(place, headers)
    error = headers.get("error", "")
    return StoredLetter(
        record=place,
        reason=headers.get("reason") or _reason_of_old(error),
        error=error,
        time=headers.get("time", ""),
        stands_at=Position(record.topic, record.partition, record.offset),
    )


def note_record(note: Note) -> tuple[bytes, Sequence[tuple[str, bytes]]]:
    """Key and headers of the record that keeps the note; it has no value."""
    place = note.record
    headers = {
        NOTE_HEADER: note.kind,
        "topic": place.topic,
        "partition": str(place.partition),
        "offset": str(place.offset),
        "actor": note.actor,
        "reason": note.reason,
        "read_to": json.dumps({str(partition): end for partition, end in note.read_to.items()}),
    }
    return str(place).encode(), tuple((name, value.encode()) for name, value in headers.items())


def _note(place: Position, headers: Mapping[str, str]) -> Note | None:
    kind = headers[NOTE_HEADER]
    if kind not in ("replayed", "skipped"):
        return None
    try:
        read_to = {int(partition): int(end) for partition, end in json.loads(headers["read_to"]).items()}
    except (KeyError, ValueError, AttributeError, TypeError):
        return None
    return Note(
        kind="replayed" if kind == "replayed" else "skipped",
        record=place,
        actor=headers.get("actor", ""),
        reason=headers.get("reason", ""),
        read_to=read_to,
    )


def _reason_of_old(error: str) -> str:
    """Letters of older versions say only in words what is wrong, the class of it first."""
    reason = error.partition(":")[0]
    return "unreadable" if reason == "unreadable record" else reason


_NO_PLACE = {"topic": "", "partition": "", "offset": ""}
