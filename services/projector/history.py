"""What the log says: of all keys in numbers, of one key line by line."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from events.kafka_log import KafkaLogReader
from events.lifecycle import Folded
from events.lineage import Applied, Ignored, Lineage
from events.log import Record
from events.settings import KafkaSettings
from events.topics import Topics
from services.projector.replay import replay
from services.projector.shares import Ends, Progress, in_shares


@dataclass(slots=True)
class Summary:
    """A fold of the whole log, in numbers. `dead_letters` are records that somebody has to look at."""

    records: int = 0
    applied: int = 0
    ignored: int = 0
    unreadable: int = 0
    dead_letters: int = 0
    lineages: int = 0
    keys: int = 0
    parked_lineages: int = 0

    def count(self, folded: Folded) -> None:
        self.records += 1
        self.applied += isinstance(folded.outcome, Applied)
        self.ignored += isinstance(folded.outcome, Ignored)
        self.unreadable += folded.event is None
        self.dead_letters += folded.is_dead_letter


#: What a share of the log comes to, and the lineage there that has the key that is asked for.
Share = tuple[Summary, str | None]


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """A record in a key's history; what an unreadable one would say is None."""

    time: datetime | None
    event: str | None
    key_id: str | None
    sequence: int | None
    place: str
    actor: str | None
    outcome: str


async def summarize(kafka: KafkaSettings, topics: Topics, on_progress: Progress) -> Summary:
    """Fold the log up to where it ends now. Raises `LogUnavailable`, `WrongLog`."""
    shares = await _fold_everything(kafka, topics, on_progress)
    return Summary(*map(sum, zip(*(dataclasses.astuple(summary) for summary, _ in shares), strict=True)))


async def key_history(
    kafka: KafkaSettings, topics: Topics, key_id: str, on_progress: Progress
) -> Sequence[HistoryLine]:
    """Every record of the key's lineage, oldest first; empty when the log has no such key.

    Raises `LogUnavailable`, `WrongLog`.
    """
    # Only the fold knows which lineage a rotation has put the key in, so the log is read twice.
    shares = await _fold_everything(kafka, topics, on_progress, key_id)
    lineage_id = next((found for _, found in shares if found is not None), None)
    if lineage_id is None:
        return ()
    lines: list[HistoryLine] = []
    async with KafkaLogReader(kafka, topics.lifecycle) as reader:
        ends = await reader.end_offsets()
        async for outcomes in replay(reader, ends, {}, only_key=lineage_id.encode()):
            lines += [_line(record, folded) for record, folded in outcomes]
    return lines


async def _fold_everything(
    kafka: KafkaSettings, topics: Topics, on_progress: Progress, key_id: str | None = None
) -> list[Share]:
    async with KafkaLogReader(kafka, topics.lifecycle) as reader:
        ends = await reader.end_offsets()
    return await in_shares(partial(_fold_share, kafka, topics, key_id), ends, on_progress)


async def _fold_share(
    kafka: KafkaSettings, topics: Topics, key_id: str | None, ends: Ends, on_records: Callable[[int], None]
) -> Share:
    summary = Summary()
    lineages: dict[str, Lineage] = {}
    with _uncollected():
        async with KafkaLogReader(kafka, topics.lifecycle) as reader:
            async for outcomes in replay(reader, ends, lineages):
                for _, folded in outcomes:
                    summary.count(folded)
                on_records(summary.records)
    summary.lineages = len(lineages)
    summary.keys = sum(len(lineage.keys) for lineage in lineages.values())
    summary.parked_lineages = sum(lineage.parked is not None for lineage in lineages.values())
    if key_id is None:
        return summary, None
    return summary, next((id_ for id_, lineage in lineages.items() if lineage.find(key_id) is not None), None)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing in a lineage refers back to it: searching them all for cycles would take a sixth of a fold."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _line(record: Record, folded: Folded) -> HistoryLine:
    event = folded.event
    place = f"{record.topic}/{record.partition}@{record.offset}"
    if event is None:
        return HistoryLine(None, None, None, None, place, None, folded.description)
    return HistoryLine(
        event.time,
        type(event).__name__,
        event.subject,
        event.sequence,
        place,
        event.actor,
        folded.description,
    )
