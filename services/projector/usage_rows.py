"""Uses as rows for the roll-up: when, whose, how much. The order of columns is that of `usage.sql`."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Self

import orjson

from events.log import Record
from events.partitions import home_partition
from events.usage import KeyUsed
from events.usage_identity import content_of, identity_of, microseconds, period_of
from services.projector.rows import Row

FIRST_ERROR_STATUS = 400


class Facts(NamedTuple):
    """What a use adds to sums, and where."""

    lineage_id: str
    time: datetime
    endpoint: str
    service_id: str
    errors: int
    predictions: int
    compute_us: int
    response_time_us: int

    @classmethod
    def of(cls, event: KeyUsed, lineage_id: str) -> Self:
        use = event.data
        return cls(
            lineage_id,
            event.time,
            use.endpoint,
            use.service_id,
            int(use.status_code >= FIRST_ERROR_STATUS),
            use.predictions_count,
            microseconds(use.compute_ms),
            microseconds(use.response_time_ms),
        )


class Use(NamedTuple):
    """A use of a known key, as a record of a batch states it. `home`: the partition of its key."""

    record: Record
    key_id: str
    home: int
    identity: str
    content: int
    period: int
    facts: Facts

    @classmethod
    def of(cls, record: Record, event: KeyUsed, lineage_id: str, partitions: int) -> Self:
        use = event.data
        return cls(
            record,
            use.key_id,
            home_partition(use.key_id, partitions),
            identity_of(use.key_id, event.id),
            content_of(use),
            period_of(record.timestamp),
            Facts.of(event, lineage_id),
        )


class Change(NamedTuple):
    """What becomes of a use: how often it is added to the sums, and what that adds to the hour's revision.

    A use ends at a revision of 1 where it counts and of 2 where another one counts instead, whichever came
    first. So a revision grows with every change, and is the same in every rebuild.
    """

    times: int
    revisions: int


COUNTED = Change(1, 1)
PASSED_OVER = Change(0, 2)
WITHDRAWN = Change(-1, 1)


def change_row(key_id: str, home: int, facts: Facts, change: Change) -> Row:
    """What the change adds to the sums."""
    lineage_id, time, endpoint, service_id, *sums = facts
    if change is not COUNTED:
        sums = [change.times * number for number in sums]
    return (key_id, home, lineage_id, time, endpoint, service_id, change.revisions, change.times, *sums)


def pack(facts: Facts, appended_ms: int) -> str:
    """As text: what is needed to withdraw the use, and to say of which record it was."""
    return orjson.dumps([appended_ms, *facts]).decode()


def unpack(text: str) -> tuple[Facts, int]:
    """What `pack` has packed."""
    appended_ms, lineage_id, time, *rest = orjson.loads(text)
    return Facts(lineage_id, datetime.fromisoformat(time), *rest), appended_ms
