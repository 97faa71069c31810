"""The uses in a record of `keys.usage`, in each content mode of the CloudEvents Kafka binding.

Structured: the value is the event; the header `content-type` is `application/cloudevents+json`. Binary: the
attributes are headers (`ce_id`, `ce_type`), `content-type` is that of the data, and the value is the data.
Batched, which the binding leaves out: the value is an array of events, `application/cloudevents-batch+json`.
A record without any of these headers is read as structured.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from events.codec import decode
from events.errors import UnreadableRecord
from events.log import Record, oversized
from events.usage import JSON, JSON_TYPE, KeyUsed

#: Of one use, in any mode.
LARGEST_VALUE_BYTES = 16 * 1024
#: Of a batch: one record is never more work than a few hundred records with one use each.
LARGEST_BATCH_BYTES = 256 * 1024
LARGEST_BATCH_EVENTS = 1000

_CLOUDEVENTS = "application/cloudevents"
_STRUCTURED = {_CLOUDEVENTS, f"{_CLOUDEVENTS}+json"}
_BATCHED = f"{_CLOUDEVENTS}-batch+json"
#: One of them makes a record binary: what a use needs, and no other tool adds by itself.
_REQUIRED_HEADERS = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type"})
_ATTRIBUTES = KeyUsed.model_fields.keys() - {"data"}


class OversizedRecord(UnreadableRecord):
    """The record is larger than anybody has reason to send."""


def decode_uses(record: Record) -> Sequence[KeyUsed | UnreadableRecord]:
    """The uses that the record states, in order; in the place of each that cannot be read, what is wrong."""
    try:
        return _decode_headers(record) if record.headers else (_structured(record),)
    except UnreadableRecord as error:
        return (error,)


def _decode_headers(record: Record) -> Sequence[KeyUsed | UnreadableRecord]:
    if why := oversized(record):
        raise OversizedRecord(f"{why} when unpacked")
    # Of a header that is there twice the last one counts, as for Kafka's own clients.
    headers = {name.lower(): value for name, value in record.headers if value is not None}
    content_type = headers.get("content-type", b"").decode(errors="replace")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _BATCHED:
        return list(_batched(record))
    if media_type.startswith(_CLOUDEVENTS) and media_type not in _STRUCTURED:
        raise UnreadableRecord("an event format that is not JSON")
    # Some SDKs give a structured event the content type of its data: the other headers decide then.
    is_binary = media_type not in _STRUCTURED and headers.keys() & _REQUIRED_HEADERS
    return (_binary(record, headers) if is_binary else _structured(record),)


def _structured(record: Record) -> KeyUsed:
    value = record.value
    _check_size(value, LARGEST_VALUE_BYTES)
    try:
        return _use(value, record)
    except UnreadableRecord as error:
        # Rarely anything but poison, so that it is not looked for before.
        envelope = _respelled(_json_or_none(value))
        if envelope is None:
            raise error from None
    return _use(_bytes(envelope), record)


def _binary(record: Record, headers: Mapping[str, bytes]) -> KeyUsed:
    _check_size(record.value, LARGEST_VALUE_BYTES)
    envelope = {name: _text(headers, f"ce_{name}") for name in _ATTRIBUTES if f"ce_{name}" in headers}
    if "content-type" in headers:
        envelope["datacontenttype"] = _text(headers, "content-type")
    if record.value is None:
        raise UnreadableRecord("no value")
    data = _json(record.value, "data")
    whole = {**envelope, "data": data}
    return _use(_bytes(_respelled(whole) or whole), record)


def _batched(record: Record) -> Iterator[KeyUsed | UnreadableRecord]:
    """Each event by itself. Raises `UnreadableRecord` where the record is no batch."""
    _check_size(record.value, LARGEST_BATCH_BYTES)
    if record.value is None:
        raise UnreadableRecord("no value")
    events = _json(record.value, "batch")
    if not isinstance(events, list):
        raise UnreadableRecord("batch: no array")
    if len(events) > LARGEST_BATCH_EVENTS:
        raise OversizedRecord(f"a batch of {len(events)} events")
    for number, event in enumerate(events, 1):
        try:
            yield _use(_bytes(_respelled(event) or event), record)
        except UnreadableRecord as error:
            yield UnreadableRecord(f"event {number} of {len(events)}: {error}")


def _use(value: bytes | None, record: Record) -> KeyUsed:
    event = decode(value, timestamp=record.timestamp)
    if not isinstance(event, KeyUsed):
        raise UnreadableRecord(f"{event.type} is no use")
    return event


def _respelled(envelope: object) -> dict[str, Any] | None:
    """The same event as this platform spells it; None where there is no other spelling in it.

    The JSON format lets null stand for absent and data be base64. JSON has several media types. Some SDKs put
    the JSON of data into a text.
    """
    if not isinstance(envelope, dict):
        return None
    stated = {name: value for name, value in envelope.items() if value is not None}
    data, content_type = stated.get("data"), stated.get("datacontenttype")
    if isinstance(content_type, str) and re.fullmatch(JSON_TYPE, content_type):
        stated["datacontenttype"] = JSON
    if data is None and "data_base64" in stated:
        stated["data"] = _json(_from_base64(stated.pop("data_base64")), "data_base64")
    elif isinstance(data, str):
        stated["data"] = _json(data.encode(), "data")
    return stated if stated != envelope else None


def _from_base64(text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except ValueError:
        raise UnreadableRecord("data_base64: no base64") from None


def _text(headers: Mapping[str, bytes], name: str) -> str:
    try:
        return headers[name].decode()
    except UnicodeDecodeError:
        raise UnreadableRecord(f"{name}: no UTF-8") from None


def _json(value: bytes, place: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise UnreadableRecord(f"{place}: json_invalid") from None


def _json_or_none(value: bytes | None) -> Any:
    try:
        return orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None


def _bytes(envelope: object) -> bytes:
    try:
        return orjson.dumps(envelope)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        raise UnreadableRecord("nested too deeply") from None


def _check_size(value: bytes | None, largest: int) -> None:
    if value is not None and len(value) > largest:
        raise OversizedRecord(f"{len(value)} bytes")
