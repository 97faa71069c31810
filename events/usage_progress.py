"""How far `usage.hourly` has got: what was appended to `keys.usage` before a moment is in it.

Moments are append times of `usage.progress` itself, which its broker sets. No clock of another host counts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from events.envelope import CloudEvent, Fact, UtcTime
from events.errors import LogUnavailable
from events.log import EventLog

RECORD_KEY: Literal["usage"] = "usage"
#: Of records without a value, which compaction removes: they are appended to learn the broker's time. One
#: key, so one partition: times of one broker are compared with each other.
PROBE_KEY = b"broker-time"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PublishedUsage(Fact):
    """Up to when uses are in `usage.hourly`."""

    complete_until: Annotated[
        UtcTime, Field(description="every use appended to keys.usage before is in usage.hourly by now")
    ]


class UsagePublished(CloudEvent):
    """A record of `usage.progress`: totals of all uses appended before `complete_until` are published.

    Whoever has read this, and then all that `usage.hourly` holds, has every one of those uses. It stays true,
    so the highest `complete_until` counts. Ignore records without a value.
    """

    type: Literal["hokusai.auth.UsagePublished.v1"] = "hokusai.auth.UsagePublished.v1"
    subject: Annotated[Literal["usage"], Field(description="always the same: what the topic is compacted by")]
    partitionkey: Literal["usage"]
    data: PublishedUsage


async def broker_time(log: EventLog, topic: str) -> datetime:
    """The broker's time now, by a probe that it appends. Raises `LogUnavailable`.

    That includes a topic that keeps clients' time, since the answer would be the time of this host.
    """
    position = await log.append(topic, PROBE_KEY, None)
    if position.appended_at_ms is None:
        raise LogUnavailable(f"{topic} does not keep the broker's time: message.timestamp.type=LogAppendTime")
    return _EPOCH + timedelta(milliseconds=position.appended_at_ms)
