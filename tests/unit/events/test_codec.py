"""Events to bytes and back. What poison does is in test_codec_poison.py."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from events.codec import Event, Upcaster, decode, encode
from events.errors import UnreadableRecord
from events.usage import LONGEST_MS
from tests.builders import (
    CREATED_AT,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    some_usage,
)

CREATED = a_key_created(scopes=("predict",), lifetime_days=30, correlationid="r-1")
ROTATED = a_key_rotated(CREATED, valid_until=CREATED_AT + timedelta(hours=24))
USED = some_usage()
EVENTS = [CREATED, ROTATED, a_key_revoked(ROTATED), a_refingerprinting(ROTATED), USED]

every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=100)
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
IDS = st.uuids().map(str)


@every_event
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    assert decode(encode(event)) == event


@given(
    st.builds(
        a_key_created,
        key_id=IDS,
        time=TIMES.filter(lambda time: 1 < time.year < 9999),
        actor=TEXTS,
        correlationid=st.none() | TEXTS,
        name=TEXTS,
        scopes=st.lists(TEXTS, max_size=3).map(tuple),
        rate_limit_per_hour=st.integers(1, 2**53 - 1),
        monthly_prediction_limit=st.none() | st.integers(0, 2**53 - 1),
        expires_at=st.none() | TIMES.filter(lambda time: 1 < time.year < 9999),
    )
)
def test_whatever_a_creation_says_survives_the_log(event: Event) -> None:
    read = decode(encode(event))
    assert read == event
    assert encode(read) == encode(event)


@given(st.builds(some_usage, key_id=IDS, endpoint=TEXTS, response_time_ms=st.floats(0, LONGEST_MS)))
def test_whatever_a_use_says_survives_the_log(event: Event) -> None:
    assert decode(encode(event)) == event


@every_event
def test_the_bytes_are_a_structured_cloudevent(event: Event) -> None:
    written = json.loads(encode(event))
    assert written["specversion"] == "1.0"
    assert re.fullmatch(r"hokusai\.auth\.[A-Z][A-Za-z]+\.v[1-9]\d*", written["type"])
    assert written["datacontenttype"] == "application/json"
    assert {"id", "source", "subject", "time", "partitionkey", "actor", "data"} <= written.keys()
    assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in written), "CloudEvents attribute names"
    assert written["time"].endswith("Z")


@every_event
def test_absent_attributes_are_left_out_and_never_null(event: Event) -> None:
    assert b"null" not in encode(event)


@pytest.mark.parametrize("zone", ["+02:00", "-11:30"])
def test_times_of_any_zone_are_read_as_utc(zone: str) -> None:
    written = json.loads(encode(CREATED))
    written["time"] = f"2026-01-15T10:30:00{zone}"
    time = decode(json.dumps(written).encode()).time
    assert time.tzinfo == UTC
    assert time == datetime.fromisoformat(written["time"])


PLACES = {
    "envelope": (CREATED, []),
    "data": (CREATED, ["data"]),
    "new key": (ROTATED, ["data", "new_key"]),
    "use": (USED, ["data"]),
}
every_place = pytest.mark.parametrize(("event", "path"), PLACES.values(), ids=PLACES)


@every_place
def test_an_unknown_field_is_refused_when_writing(event: Event, path: list[str]) -> None:
    fields = event.model_dump()
    _at(fields, path)["unheard_of"] = 1
    with pytest.raises(ValidationError, match="extra_forbidden"):
        type(event)(**fields)


@every_place
def test_an_unknown_field_is_ignored_when_reading(event: Event, path: list[str]) -> None:
    """Readers meet fields of writers that are newer than they are."""
    written = json.loads(encode(event))
    _at(written, path)["unheard_of"] = {"nested": [1, None]}
    assert decode(json.dumps(written).encode()) == event


def _renamed(before: str, after: str, change: Upcaster) -> dict[str, Upcaster]:
    return {before: lambda envelope: {**change(envelope), "type": after}}


REVOKED_V1 = "hokusai.auth.KeyRevoked.v1"
#: A history of KeyRevoked that never was: first without a reason, then with `why`, then as today.
CHAIN = {
    **_renamed("Revoked.a", "Revoked.b", lambda old: {**old, "data": {**old["data"], "why": "unsaid"}}),
    **_renamed(
        "Revoked.b",
        REVOKED_V1,
        lambda old: {**old, "data": {"key_id": old["data"]["key_id"], "reason": old["data"]["why"]}},
    ),
}


def _revoked(type_name: str, **data: Any) -> tuple[Event, bytes]:
    """Today's event, and the same in an older shape."""
    event = a_key_revoked(CREATED)
    written = json.loads(encode(event))
    return event, json.dumps(
        {**written, "type": type_name, "data": {"key_id": event.subject, **data}}
    ).encode()


def test_an_older_version_is_lifted_step_by_step() -> None:
    today, oldest = _revoked("Revoked.a")
    assert decode(oldest, CHAIN) == today.model_copy(
        update={"data": today.data.model_copy(update={"reason": "unsaid"})}
    )


def test_lifting_begins_at_the_version_that_was_written() -> None:
    today, older = _revoked("Revoked.b", why="no longer needed", unheard_of=1)
    assert decode(older, CHAIN) == today


def test_a_current_version_is_not_lifted() -> None:
    def broken(_: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("lifted")

    event = a_key_revoked(CREATED)
    assert decode(encode(event), {"Revoked.a": broken}) == event


def test_an_older_version_without_an_upcaster_is_unknown() -> None:
    with pytest.raises(UnreadableRecord, match=r"^unknown type$"):
        decode(_revoked("Revoked.a")[1], {})


def test_what_is_still_wrong_after_lifting_is_named() -> None:
    with pytest.raises(UnreadableRecord, match=r"reason: string_type$"):
        decode(_revoked("Revoked.b", why=7)[1], CHAIN)


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, IndexError, ArithmeticError])
def test_an_upcaster_that_fails_makes_the_record_unreadable(error: type[Exception]) -> None:
    def failing(_: dict[str, Any]) -> dict[str, Any]:
        raise error("hk_live_content")

    with pytest.raises(UnreadableRecord, match=rf"^upcasting failed: {error.__name__}$"):
        decode(_revoked("Revoked.a")[1], {"Revoked.a": failing})


def test_an_upcaster_that_makes_no_json_makes_the_record_unreadable() -> None:
    upcaster = {"Revoked.a": lambda old: {**old, "type": REVOKED_V1, "data": object()}}
    with pytest.raises(UnreadableRecord, match=r"^upcasting failed"):
        decode(_revoked("Revoked.a")[1], upcaster)


def _at(fields: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for name in path:
        fields = fields[name]
    return fields
