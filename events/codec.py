"""Events to bytes and back, whatever version they were written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from events.errors import UnreadableRecord
from events.keys import KeyCreated, KeyEvent, KeyRevoked, KeyRotated
from events.usage import KeyUsed

Event = KeyEvent | KeyUsed
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

#: From the type of an older version to the pure function that makes the next version of it.
#: It takes and returns the whole envelope, `type` included.
UPCASTERS: Mapping[str, Upcaster] = {}

_CURRENT: TypeAdapter[Event] = TypeAdapter(
    Annotated[KeyCreated | KeyRotated | KeyRevoked | KeyUsed, Field(discriminator="type")]
)


def encode(event: Event) -> bytes:
    """Structured CloudEvents JSON, UTF-8. Absent attributes are left out, as CloudEvents asks."""
    return event.model_dump_json(exclude_none=True).encode()


def decode(value: bytes | None, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> Event:
    """The event in a record's value; older versions are lifted to today's.

    Raises `UnreadableRecord` for anything else, naming the place but never the content.
    """
    if value is None:
        raise UnreadableRecord("no value")
    try:
        return _CURRENT.validate_json(value, extra="ignore")
    except ValidationError as today:
        older = _lift(value, upcasters)
        if older is None:
            raise UnreadableRecord(_reason(today)) from None
    try:
        return _CURRENT.validate_json(orjson.dumps(older), extra="ignore")
    except ValidationError as error:
        raise UnreadableRecord(_reason(error)) from None


def _lift(value: bytes, upcasters: Mapping[str, Upcaster]) -> dict[str, Any] | None:
    """The envelope after every upcaster that fits, or None where none does."""
    try:
        envelope: Any = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(envelope, dict) or envelope.get("type") not in upcasters:
        return None
    try:
        lifted: dict[str, Any] = envelope
        while (upcaster := upcasters.get(lifted["type"])) is not None:
            lifted = upcaster(lifted)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableRecord(f"upcasting failed: {type(error).__name__}") from None
    return lifted


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return "unknown type"
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['type']}" if place else str(first["type"])
