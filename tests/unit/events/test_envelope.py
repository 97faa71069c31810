"""The envelope: who, what and when, in a shape that every store can keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from events.envelope import Envelope
from tests.builders import CREATED_AT, a_key_created, fresh_id


def an_envelope(**overrides: Any) -> Envelope:
    key_id = fresh_id()
    needed = {"source": "urn:hokusai:api", "subject": key_id, "partitionkey": key_id, "actor": "admin"}
    return Envelope(**{**needed, **overrides})


def test_ids_are_unique_and_rise_with_time() -> None:
    ids = [an_envelope().id for _ in range(100)]
    assert ids == sorted(set(ids)), "UUIDv7"
    assert {one[14] for one in ids} == {"7"}


def test_its_time_is_now_unless_told() -> None:
    before = datetime.now(UTC)
    assert before <= an_envelope().time <= datetime.now(UTC)
    assert an_envelope(time=CREATED_AT).time == CREATED_AT


def test_a_time_of_another_zone_becomes_utc() -> None:
    local = datetime(2026, 1, 15, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    time = an_envelope(time=local).time
    assert (time, time.tzinfo) == (CREATED_AT, UTC)


@pytest.mark.parametrize(
    "time",
    [
        CREATED_AT.replace(tzinfo=None),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5))),
    ],
    ids=["without a zone", "before the year 1", "after the year 9999"],
)
def test_a_time_that_is_no_moment_in_utc_is_refused(time: datetime) -> None:
    with pytest.raises(ValidationError, match="time"):
        an_envelope(time=time)


@pytest.mark.parametrize(
    "overrides",
    [
        {"actor": ""},
        {"actor": "a" * 256},
        {"actor": "a\x00"},
        {"source": None},
        {"subject": "A1B2C3D4-0000-7000-8000-000000000000"},
        {"subject": "a1b2c3d4000070008000000000000000"},
        {"subject": "a1b2c3d4-0000-7000-8000-000000000000\n"},
        {"partitionkey": "key"},
        {"specversion": "0.3"},
        {"datacontenttype": "application/xml"},
        {"unheard_of": 1},
    ],
    ids=repr,
)
def test_what_is_no_envelope_is_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(overrides))):
        an_envelope(**overrides)


def test_a_fact_is_never_changed() -> None:
    event = a_key_created()
    with pytest.raises(ValidationError, match="frozen"):
        event.actor = "somebody else"
    with pytest.raises(ValidationError, match="frozen"):
        event.data.name = "another"
