"""What makes two reports one use, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from events.usage_identity import NEAR_PERIODS, PERIOD_MS, content_of, identity_of, period_of
from services.projector.usage_judging import NEWEST_MS, OLDEST_MS
from tests.builders import fresh_id, some_usage

KEY = fresh_id()


def test_identities_are_those_of_key_and_id_together() -> None:
    ids = [fresh_id(), "request-1", "x" * 255, "é", f"{KEY}-1772366400250", f"{KEY}-1772366400251"]
    keys = [KEY, fresh_id()]
    identities = {identity_of(key, event_id) for key in keys for event_id in ids}
    assert len(identities) == len(keys) * len(ids)
    assert all(len(identity) == 32 and int(identity, 16) >= 0 for identity in identities)


@pytest.mark.parametrize("form", ["uuid7", "milliseconds"])
def test_identities_of_ids_that_tell_when_they_were_made_are_in_that_order(form: str) -> None:
    """So that an index grows at its end."""
    made = [int(datetime(2026, month, 1, tzinfo=UTC).timestamp() * 1000) for month in range(1, 13)]
    ids = [_uuid7(ms) if form == "uuid7" else f"{KEY}-{ms}" for ms in made]
    identities = [identity_of(KEY, event_id) for event_id in ids]
    assert identities == sorted(identities)


@pytest.mark.parametrize(
    "event_id", ["x" * 14 + "7" + "x" * 21, "-١٧٧٢٣٦٦٤٠٠٢٥٠", "-1772366400", "-", "7" * 36]
)
def test_ids_that_only_look_as_if_are_ids_as_well(event_id: str) -> None:
    assert len(identity_of(KEY, event_id)) == 32
    assert identity_of(KEY, event_id) != identity_of(fresh_id(), event_id)


def test_the_same_record_cannot_be_taken_twice_in_periods_that_are_not_near() -> None:
    """Neither too old nor in the future, both times."""
    furthest_apart = OLDEST_MS + NEWEST_MS
    assert furthest_apart <= NEAR_PERIODS * PERIOD_MS
    assert max(period_of(at + furthest_apart) - period_of(at) for at in range(0, PERIOD_MS, 600_000)) <= 3


def test_a_time_of_any_size_has_a_period() -> None:
    assert period_of(-(2**63)) == 0
    assert period_of(2**63) < 2**31


def test_content_is_every_fact_that_is_counted_and_no_other() -> None:
    one = some_usage(key_id=KEY, compute_ms=1.5)
    same = some_usage(key_id=KEY, compute_ms=1.5, actor="another", time=datetime(2020, 1, 1, tzinfo=UTC))
    assert content_of(one.data) == content_of(same.data)
    others = [
        some_usage(**{"key_id": KEY, "compute_ms": 1.5, **other})
        for other in (
            {"service_id": "p"},
            {"endpoint": "/"},
            {"status_code": 201},
            {"predictions_count": 2},
            {"compute_ms": 1.501},
            {"response_time_ms": 1.5},
        )
    ]
    assert len({content_of(use.data) for use in (one, *others)}) == 7
    assert all(-(2**63) <= content_of(use.data) < 2**63 for use in others)


def _uuid7(made_ms: int) -> str:
    digits = f"{made_ms:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000001"
