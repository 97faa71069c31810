"""What the SDK of CloudEvents makes of a use is read, in each mode and from each of its two interfaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.http import CloudEvent as CloudEventOfV1
from cloudevents.v1.kafka import to_binary, to_structured

from events.usage import KeyUsed, Usage
from events.usage_records import decode_uses
from tests.builders import StoredRecord, some_usage

TIME = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
USAGE = some_usage().data
DATA: dict[str, Any] = USAGE.model_dump()
#: All that a use needs; the SDK adds a time.
NEEDED = {"specversion": "1.0", "id": "use-1", "source": "urn:others", "type": "hokusai.auth.KeyUsed.v1"}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "needed": NEEDED,
    "data type": {**NEEDED, "datacontenttype": "application/json; charset=utf-8"},
    "more": {
        **NEEDED,
        "time": TIME,
        "subject": USAGE.key_id,
        "partitionkey": USAGE.key_id,
        "datacontenttype": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    },
}
every_event = pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES)


@every_event
@pytest.mark.parametrize(
    "data", [DATA, json.dumps(DATA).encode(), json.dumps(DATA)], ids=["dict", "bytes", "text"]
)
@pytest.mark.parametrize("convert", [kafka.to_binary_event, kafka.to_structured_event])
def test_the_sdk_s_events_are_read(convert: Any, data: Any, attributes: dict[str, Any]) -> None:
    message = convert(CloudEvent(dict(attributes), data))
    _is_read(message.headers, message.key, message.value, attributes)


@every_event
@pytest.mark.parametrize("convert", [to_binary, to_structured])
def test_the_events_of_the_older_interface_are_read(convert: Any, attributes: dict[str, Any]) -> None:
    """It gives a structured event the content type of its data."""
    stated = {"datacontenttype": "application/json", **attributes}
    if "time" in stated:
        stated["time"] = stated["time"].isoformat()
    message = convert(CloudEventOfV1(stated, DATA), key_mapper=lambda event: event.get("partitionkey"))
    _is_read(message.headers, message.key, message.value, attributes)


def _is_read(headers: Mapping[str, bytes], key: Any, value: Any, attributes: Mapping[str, Any]) -> None:
    appended_ms = int(TIME.timestamp() * 1000)
    record = StoredRecord(
        "keys.usage",
        timestamp=appended_ms,
        key=key.encode() if isinstance(key, str) else key,
        value=value.encode() if isinstance(value, str) else value,
        headers=tuple(headers.items()),
    )
    (use,) = decode_uses(record)
    assert isinstance(use, KeyUsed), use
    assert (use.id, use.source, use.data) == ("use-1", "urn:others", Usage(**DATA))
    assert use.subject == attributes.get("subject")
    if "time" in attributes:
        assert use.time == TIME
