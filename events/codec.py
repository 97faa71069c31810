"""Events to bytes and back, whatever version they were written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from events.errors import UnreadableRecord
from events.keys import KeyEvent
from events.log import appended_at
from events.peppers import PepperConfigured
from events.totals import HourlyUsage, StatementClosed, StatementRevisions, WindowCount
from events.usage import KeyUsed
from events.usage_progress import UsagePublished

Event = KeyEvent | KeyUsed
Total = HourlyUsage | UsagePublished | WindowCount | StatementClosed | StatementRevisions | PepperConfigured
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

#: From the type of an older version to the pure function that makes the next version of it.
#: It takes and returns the whole envelope, `type` included.
UPCASTERS: Mapping[str, Upcaster] = {}

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
_TOTAL: TypeAdapter[Total] = TypeAdapter(Annotated[Total, Field(discriminator="type")])
T = TypeVar("T", Event, Total)


def encode(event: Event | Total) -> bytes:
    """Structured CloudEvents JSON, UTF-8. Absent attributes are left out, as CloudEvents asks."""
    return event.model_dump_json(exclude_none=True).encode()


def decode(
    value: bytes | None, upcasters: Mapping[str, Upcaster] = UPCASTERS, *, timestamp: int | None = None
) -> Event:
    """The event in a record's value; older versions are lifted to today's.

    Nothing is converted or filled in: what the JSON Schemas refuse is refused here, unknown fields aside.
    Only a use without a time has that of its record, where the record's `timestamp` is given.
    Raises `UnreadableRecord` for anything else, naming the place but never the content.
    """
    event = _decode(_EVENT, value, upcasters)
    if isinstance(event, KeyUsed) and "time" not in event.model_fields_set:
        if timestamp is None:
            raise UnreadableRecord(f"{event.type}.time: missing")
        return event.model_copy(update={"time": appended_at(timestamp)})
    return event


def decode_total(value: bytes | None, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> Total:
    """The same for every topic that is no event store: sums, counts, statements, peppers."""
    return _decode(_TOTAL, value, upcasters)


def _decode(adapter: TypeAdapter[T], value: bytes | None, upcasters: Mapping[str, Upcaster]) -> T:
    if value is None:
        raise UnreadableRecord("no value")
    try:
        return _read(adapter, value)
    except ValidationError as today:
        older = _lift(value, upcasters)
        if older is None:
            raise UnreadableRecord(_reason(today)) from None
    try:
        return _read(adapter, older)
    except ValidationError as error:
        raise UnreadableRecord(_reason(error)) from None


def _read(adapter: TypeAdapter[T], value: bytes) -> T:
    event = adapter.validate_json(value, strict=True, extra="ignore")
    if unstated := event.stated - event.model_fields_set:
        raise UnreadableRecord(f"{event.type}.{min(unstated)}: missing")
    return event


def _lift(value: bytes, upcasters: Mapping[str, Upcaster]) -> bytes | None:
    """The value after every upcaster that fits, or None where none does."""
    try:
        envelope: Any = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(envelope, dict) or _upcaster_of(envelope, upcasters) is None:
        return None
    try:
        while (upcaster := _upcaster_of(envelope, upcasters)) is not None:
            envelope = upcaster(envelope)
        return orjson.dumps(envelope)
    except Exception as error:  # an upcaster meets content that nobody foresaw
        raise UnreadableRecord(f"upcasting failed: {type(error).__name__}") from None


def _upcaster_of(envelope: dict[str, Any], upcasters: Mapping[str, Upcaster]) -> Upcaster | None:
    version = envelope.get("type")
    return upcasters.get(version) if isinstance(version, str) else None


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return "unknown type"
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['type']}" if place else str(first["type"])
