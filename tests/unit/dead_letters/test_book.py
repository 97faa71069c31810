"""Each letter once, its state from what was noted last, whatever order and whatever foreign records come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from events.dead_letter_notes import Note, NoteKind, note_record
from events.log import Position
from services.dead_letters.book import Filter, LetterBook
from tests.builders import CREATED_AT, StoredRecord

HOUR_MS = 3_600_000


@pytest.fixture
def book() -> Iterator[LetterBook]:
    with LetterBook() as book:
        yield book


def original(offset: int, topic: str = "keys.usage", hours: int = 0) -> StoredRecord:
    timestamp = int(CREATED_AT.timestamp() * 1000) + hours * HOUR_MS
    return StoredRecord(topic, 3, offset, timestamp, key=b"k", value=b"v")


def letter(record: StoredRecord, reason: str = "unknown key", at: int = 0) -> StoredRecord:
    """As it stands in its topic."""
    old = of_old(record, reason, at)
    return dataclasses.replace(old, headers=(*old.headers, ("reason", reason.encode())))


def of_old(record: StoredRecord, reason: str, at: int = 0) -> StoredRecord:
    """As older versions wrote it, without the header that names its class."""
    headers = {
        "topic": record.topic.encode(),
        "partition": b"%d" % record.partition,
        "offset": b"%d" % record.offset,
        "error": f"{reason}: so it is".encode(),
        "time": datetime.fromtimestamp(record.timestamp / 1000, UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.000Z")
        .encode(),
    }
    return StoredRecord(f"{record.topic}.dlq", 5, at, key=b"k", headers=tuple(headers.items()))


def note(kind: NoteKind, record: StoredRecord, read_to: int = 100, appended_ms: int = 0) -> StoredRecord:
    place = Position(record.topic, record.partition, record.offset)
    key, headers = note_record(Note(kind, place, "oncall", "looked at it", {5: read_to}))
    return StoredRecord(f"{record.topic}.dlq", 7, 0, appended_ms, key=key, headers=tuple(headers))


def states(book: LetterBook, wanted: Filter | None = None) -> dict[int, str]:
    return {entry.letter.record.offset: entry.state for entry in book.find(wanted or Filter())}


def test_a_letter_that_came_twice_is_there_once(book: LetterBook) -> None:
    for at in range(3):
        book.add([letter(original(7), at=at), letter(original(8), at=at)])
    assert states(book) == {7: "open", 8: "open"}
    assert book.count(Filter()) == 2


@pytest.mark.parametrize("note_first", [True, False])
def test_what_was_noted_is_its_state_in_whatever_order_it_is_read(
    book: LetterBook, *, note_first: bool
) -> None:
    records = [letter(original(7)), note("skipped", original(7)), letter(original(8))]
    book.add(sorted(records, key=lambda record: record.partition, reverse=note_first))
    assert states(book) == {7: "skipped", 8: "open"}
    entry = book.at(Position("keys.usage", 3, 7))
    assert entry is not None
    assert (entry.actor, entry.why) == ("oncall", "looked at it")


def test_a_replay_that_was_refused_again_is_open_again(book: LetterBook) -> None:
    """Its newer letter stands behind what the topic held when it was replayed."""
    book.add([letter(original(7), at=10), note("replayed", original(7), read_to=11)])
    assert states(book) == {7: "replayed"}
    book.add([letter(original(7), at=11)])
    assert states(book) == {7: "open"}
    entry = book.at(Position("keys.usage", 3, 7))
    assert entry is not None
    assert entry.actor is None


def test_a_skipped_letter_stays_skipped_when_a_rebuild_sends_it_again(book: LetterBook) -> None:
    book.add([letter(original(7)), note("skipped", original(7), read_to=1), letter(original(7), at=200)])
    assert states(book) == {7: "skipped"}


def test_the_last_note_counts(book: LetterBook) -> None:
    newer, older = note("replayed", original(7), appended_ms=2), note("skipped", original(7), appended_ms=1)
    book.add([letter(original(7)), newer, older])
    assert states(book) == {7: "replayed"}


def test_letters_are_found_by_topic_class_time_and_state_in_the_order_of_time(book: LetterBook) -> None:
    book.add(
        [
            letter(original(1, hours=2)),
            letter(original(2, hours=1), "too old"),
            letter(original(3, topic="keys.lifecycle", hours=3), "unreadable"),
            letter(original(4, hours=4)),
            note("skipped", original(4)),
        ]
    )
    assert list(states(book)) == [2, 1, 3, 4]
    assert list(states(book, Filter(topic="keys.usage"))) == [2, 1, 4]
    assert list(states(book, Filter(reason="too old"))) == [2]
    assert list(states(book, Filter(state="open"))) == [2, 1, 3]
    times = {entry.letter.record.offset: entry.letter.time for entry in book.find(Filter())}
    assert list(states(book, Filter(since=times[1], until=times[4]))) == [1, 3]
    assert book.count(Filter(since=times[1], until=times[4])) == 2


def test_letters_of_older_versions_say_their_class_in_words(book: LetterBook) -> None:
    book.add([of_old(original(1), "unknown key"), of_old(original(2), "unreadable record")])
    assert [entry.letter.reason for entry in book.find(Filter())] == ["unknown key", "unreadable"]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("topic", b"keys.usage"), ("partition", b"x"), ("offset", b"1")),
        (("topic", b"\xff"), ("partition", b"1"), ("offset", b"1")),
        (
            ("note", b"burnt"),
            ("topic", b"keys.usage"),
            ("partition", b"3"),
            ("offset", b"7"),
            ("read_to", b"{}"),
        ),
        (
            ("note", b"skipped"),
            ("topic", b"keys.usage"),
            ("partition", b"3"),
            ("offset", b"7"),
            ("read_to", b"[1]"),
        ),
    ],
)
def test_foreign_records_are_no_letters_and_no_notes(
    book: LetterBook, headers: tuple[tuple[str, bytes], ...]
) -> None:
    book.add([letter(original(7)), StoredRecord("keys.usage.dlq", 0, 0, headers=headers)])
    assert states(book) == {7: "open"}
