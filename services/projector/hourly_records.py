"""Sums as the records that tell them: made by the thousand, so without a model for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from events.log import KeyAndValue
from events.totals import HourlyUsage, WindowCount, hour_number
from services.projector.published import record_key

SOURCE = "hokusai-auth/projector"


class Totals(NamedTuple):
    """A row of `usage_hour`, and the service that its key was issued for."""

    key_id: str
    lineage_id: str
    service_id: str
    hour: datetime
    revision: int
    requests: int
    errors: int
    predictions: int
    compute_us: int
    response_time_us: int


def hourly_records(rows: Iterable[Totals], now: datetime) -> Sequence[KeyAndValue]:
    """What `usage.hourly` is told about each row: its `HourlyUsage`, under the key it is compacted by.

    To the byte what the codec makes of the model, as the unit tests see to. Nothing is checked here: a row
    holds nothing that the model would refuse.
    """
    constant = {
        "specversion": "1.0",
        "id": "",
        "source": SOURCE,
        "time": now,
        "datacontenttype": "application/json",
        "type": HourlyUsage.model_fields["type"].default,
    }
    records: list[KeyAndValue] = []
    for row in rows:
        key = record_key(row.key_id, row.hour)
        totals = {
            "key_id": row.key_id,
            "lineage_id": row.lineage_id,
            "service_id": row.service_id,
            "hour": row.hour.astimezone(UTC),
            "revision": row.revision,
            "requests": row.requests,
            "errors": row.errors,
            "predictions": row.predictions,
            "compute_us": row.compute_us,
            "response_time_us": row.response_time_us,
        }
        stated = {"id": f"{key}/{row.revision}", "subject": row.key_id, "partitionkey": key, "data": totals}
        records.append((key.encode(), orjson.dumps(constant | stated, option=orjson.OPT_UTC_Z)))
    return records


def window_records(rows: Iterable[Totals]) -> Sequence[KeyAndValue]:
    """What limits each key: its reported use, as a `WindowCount` of a node of its own."""
    kind = WindowCount.model_fields["type"].default
    return [
        (
            row.lineage_id.encode(),
            orjson.dumps(
                {
                    "type": kind,
                    "node_id": row.key_id,
                    "kind": "reports",
                    "lineage_id": row.lineage_id,
                    "hour": hour_number(row.hour.timestamp()),
                    "count": row.requests,
                    "last_used": {},
                }
            ),
        )
        for row in rows
    ]
