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
    """What a use adds to sums, and where. `home`: the partition of its key."""

    key_id: str
    home: int
    lineage_id: str
    time: datetime
    endpoint: str
    service_id: str
    errors: int
    predictions: int
    compute_us: int
    response_time_us: int

    @classmethod
    def of(cls, event: KeyUsed, lineage_id: str, partitions: int) -> Self:
        use = event.data
        return cls(
            use.key_id,
            home_partition(use.key_id, partitions),
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
    """A use of a known key, as a record of a batch states it."""

    record: Record
    identity: str
    content: int
    period: int
    facts: Facts

    @classmethod
    def of(cls, record: Record, event: KeyUsed, lineage_id: str, partitions: int) -> Self:
        use = event.data
        return cls(
            record,
            identity_of(use.key_id, event.id),
            content_of(use),
            period_of(record.timestamp),
            Facts.of(event, lineage_id, partitions),
        )


class Change(NamedTuple):
    """What becomes of a use: what is added to its hour's revision, and how often it is added to the sums.

    A use ends at a revision of 1 where it counts and of 2 where another one counts instead, whichever came
    first. So a revision grows with every change, and is the same in every rebuild.
    """

    revisions: int
    times: int


COUNTED = Change(1, 1)
PASSED_OVER = Change(2, 0)
WITHDRAWN = Change(1, -1)


def change_row(facts: Facts, change: Change) -> Row:
    """What the change adds to the sums."""
    if change is COUNTED:  # nearly all
        return change + facts
    times = change.times
    multiplied = facts._replace(
        errors=times * facts.errors,
        predictions=times * facts.predictions,
        compute_us=times * facts.compute_us,
        response_time_us=times * facts.response_time_us,
    )
    return change + multiplied


def pack(facts: Facts, appended_ms: int) -> str:
    """As text: what is needed to withdraw the use, and to say of which record it was."""
    return orjson.dumps([appended_ms, *facts]).decode()


def unpack(text: str) -> tuple[Facts, int]:
    """What `pack` has packed."""
    appended_ms, key_id, home, lineage_id, time, *rest = orjson.loads(text)
    return Facts(key_id, home, lineage_id, datetime.fromisoformat(time), *rest), appended_ms
