"""What is done with dead letters: read them, find originals, append those again, note what was done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from events.dead_letter_notes import Note, NoteKind, StoredLetter, note_record
from events.errors import EventsError, WrongLog
from events.kafka_clients import log_unavailable
from events.kafka_cluster import find, first_offsets
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.kafka_lookup import KafkaLookup
from events.log import Record
from events.log_reading import read_through
from events.replays import replay_headers
from events.topics import LogSettings, Topic
from services.dead_letters.book import Entry, LetterBook

#: The only verdict that a replay can change; see `services/projector/usage_replays.py`.
REPLAYABLE = "unknown key"

Progress = Callable[[int, int], None]


class CannotReplay(EventsError):
    """The letter is of a kind that judging it again would not change. The message says what helps."""


class OriginalGone(EventsError):
    """The record of a letter is not in its topic any more."""


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """What the commands work with, open. Who only looks needs no right to write."""

    settings: LogSettings
    book: LetterBook
    #: Where each partition of each topic of dead letters ended when it was read, by the topic's name.
    read_to: Mapping[str, Mapping[int, int]]
    lookup: KafkaLookup

    async def original(self, letter: StoredLetter) -> Record:
        """The record that the letter is of. Raises `OriginalGone`, `LogUnavailable`."""
        record = await self.lookup.find(letter.record)
        if record is None:
            raise OriginalGone(f"{letter.record} is not in the log any more")
        return record

    async def replay(self, log: KafkaEventLog, entry: Entry, actor: str, why: str) -> None:
        """Append the original again, beside itself, and note it.

        Whether it counts is for the projector to say, which compares it with what it has refused. A use that
        is refused again has another letter, and is open again.
        Raises `CannotReplay`, `OriginalGone`, `LogUnavailable`.
        """
        check_replayable(self.settings, entry.letter)
        record = await self.original(entry.letter)
        await log.append(
            record.topic, record.key, record.value, replay_headers(record), partition=record.partition
        )
        await self.note(log, "replayed", entry.letter, actor, why)

    async def note(
        self, log: KafkaEventLog, kind: NoteKind, letter: StoredLetter, actor: str, why: str
    ) -> None:
        """Say beside the letter what was done, and why. Raises `LogUnavailable`."""
        topic = letter.stands_at.topic
        key, headers = note_record(Note(kind, letter.record, actor, why, self.read_to[topic]))
        await log.append(topic, key, None, headers)


@asynccontextmanager
async def open_queue(
    settings: LogSettings, topic: str | None, on_progress: Progress
) -> AsyncIterator[DeadLetterQueue]:
    """Read the letters of all topics, or of one (named by its originals' topic) and open what is needed.

    Raises `LogUnavailable`, `WrongLog`.
    """
    with LetterBook() as book:
        read_to = {
            letters.name: await _read(settings, letters, book, on_progress)
            for originals, letters in topics_of_letters(settings).items()
            if topic in (None, originals)
        }
        async with KafkaLookup(settings) as lookup:
            yield DeadLetterQueue(settings, book, read_to, lookup)


def writer(settings: LogSettings) -> KafkaEventLog:
    """What replays and notes are appended with."""
    return KafkaEventLog(settings, client_id="hokusai-auth dlq")


def topics_of_letters(settings: LogSettings) -> Mapping[str, Topic]:
    """The topic of dead letters for each topic that has one."""
    return {
        settings.lifecycle.name: settings.lifecycle_dead_letters,
        settings.usage.name: settings.usage_dead_letters,
    }


def check_replayable(settings: LogSettings, letter: StoredLetter) -> None:
    """Raises `CannotReplay` where judging the record again would come to the same."""
    place = letter.record
    if letter.record.topic != settings.usage.name:
        raise CannotReplay(
            f"{place} is no use: appended again it would have another place in its lineage's history. "
            "A reader that understands it takes it in its place: upgrade, drop the schema, let it be filled"
        )
    if letter.reason != REPLAYABLE:
        raise CannotReplay(
            f"{place} is refused for what it says ({letter.reason}), and would be again. "
            "A newer version that reads it differently fills its schema again, and counts it in its place"
        )


async def _read(
    settings: LogSettings, letters: Topic, book: LetterBook, on_progress: Progress
) -> Mapping[int, int]:
    """Returns where each partition ended; what comes meanwhile may be read as well."""
    with log_unavailable(f"{letters.name} does not say where it begins"):
        if await find(settings, letters) is None:
            raise WrongLog(f"{letters.name} is missing: run `hokusai-auth topics apply`")
        begins = _of_one(await first_offsets(settings, [letters]))
    async with KafkaLogReader(settings, letters) as reader:
        ends = await reader.end_offsets()
        total, done = sum(ends.values()) - sum(begins.values()), 0
        async for records in read_through(reader, ends, begins):
            book.add(records)
            done += len(records)
            on_progress(done, total)
        return ends


def _of_one(offsets: Mapping[tuple[str, int], int]) -> Mapping[int, int]:
    return {partition: offset for (_, partition), offset in offsets.items()}
