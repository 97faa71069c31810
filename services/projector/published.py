"""What `usage.hourly` last said about each row: the topic itself is the memory of what was published."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from events.codec import decode_total
from events.dead_letters import DeadLetter
from events.errors import UnreadableRecord
from events.log import Record
from events.queries import load_queries
from events.topics import Topics
from events.totals import HourlyUsage, hour_text
from services.projector.array_text import array_text

_QUERIES = load_queries("services.projector", "hourly.sql")

HOUR_LENGTH = len("2026-01-31T23")
_KEY_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

logger = logging.getLogger(__name__)


class RowName(NamedTuple):
    """Which row of `usage_hour`: what record keys say."""

    key_id: str
    hour: datetime


class PublishedProjection:
    """Keeps the revision that stands last in the topic, and names rows again that are ahead of it.

    The last one, not the highest: the topic is compacted to it, so a stale record that was sent late has to
    be covered by the right one.
    """

    name = "published"
    dead_letter_topic = None

    def __init__(self, topics: Topics) -> None:
        self.topic = topics.hourly_usage

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """See `Projection.apply`; names no dead letters."""
        seen = last_revisions(records)
        if seen:
            rows = sorted(seen)
            values = {
                "key_ids": array_text(row.key_id for row in rows),
                "hours": array_text(row.hour for row in rows),
                "revisions": array_text(seen[row] for row in rows),
            }
            await connection.execute(_QUERIES["lock_unpublished"], values)
            await connection.execute(_QUERIES["see_published"], values)
        return ()


def last_revisions(records: Iterable[Record]) -> dict[RowName, int]:
    """The revision that the last record of each row states; 0 where that record cannot be read.

    A foreign record under the key of a row has covered ours, so the row counts as not published.
    """
    seen = {}
    for record in records:
        row = row_of(record.key)
        if row is not None:
            seen[row] = _revision(record, row)
        else:
            logger.warning("%s/%s@%s names no row", record.topic, record.partition, record.offset)
    return seen


def record_key(key_id: str, hour: datetime) -> str:
    """What the row's records are compacted by."""
    return f"{key_id}/{hour_text(hour)}"


def row_of(key: bytes | None) -> RowName | None:
    """The row that a record key names; None where it names none."""
    key_id, _, text = (key or b"").decode(errors="replace").partition("/")
    # Foreign keys may be of any length: they are not remembered.
    hour = _hour(text) if len(text) == HOUR_LENGTH and _KEY_ID.fullmatch(key_id) else None
    return RowName(key_id, hour) if hour is not None else None


@lru_cache(maxsize=1024)  # many records name the same few hours
def _hour(text: str) -> datetime | None:
    try:
        hour = datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    except ValueError:
        return None
    return hour if hour_text(hour) == text else None


def _revision(record: Record, row: RowName) -> int:
    try:
        event = decode_total(record.value)
        if isinstance(event, HourlyUsage) and (event.data.key_id, event.data.hour) == row:
            return event.data.revision
        problem = "the record key names another row"
    except UnreadableRecord as error:
        problem = str(error)
    logger.warning("%s/%s@%s: %s", record.topic, record.partition, record.offset, problem)
    return 0
