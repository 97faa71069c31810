"""What a use adds to the sums, and takes from them again; times add up exactly."""

from __future__ import annotations

import random

from events.partitions import home_partition
from events.usage_identity import microseconds
from services.projector.rows import Row
from services.projector.usage_rows import (
    COUNTED,
    PASSED_OVER,
    WITHDRAWN,
    Change,
    Use,
    change_row,
    pack,
    unpack,
)
from tests.builders import fresh_id, some_usage
from tests.usage_records import usage_record

KEY = fresh_id()


def test_an_error_is_a_status_of_400_or_more() -> None:
    assert [_row(status_code=code)[8] for code in (0, 399, 400, 999)] == [0, 0, 1, 1]


def test_what_is_withdrawn_was_added_and_what_is_passed_over_never() -> None:
    """A revision is the same whether a use is counted first and withdrawn, or never counted."""
    added, withdrawn, passed_over = (
        _row(change=change, status_code=500) for change in (COUNTED, WITHDRAWN, PASSED_OVER)
    )
    both = [a + b for a, b in zip(_numbers(added), _numbers(withdrawn), strict=True)]
    assert both == list(_numbers(passed_over)) == [2, 0, 0, 0, 0, 0]


def test_facts_come_back_as_they_were() -> None:
    facts = Use.of(usage_record(some_usage(key_id=KEY, endpoint='/é"')), some_usage(), "lineage", 12).facts
    assert unpack(pack(facts, 1234)) == (facts, 1234)


def test_times_add_up_to_the_same_sum_in_any_order() -> None:
    times = [random.random() * 1000 for _ in range(1000)]
    assert sum(map(microseconds, times)) == sum(map(microseconds, sorted(times)))
    assert microseconds(0.1) + microseconds(0.2) == microseconds(0.3)


def _row(change: Change = COUNTED, **facts: object) -> Row:
    event = some_usage(key_id=KEY, **facts)
    use = Use.of(usage_record(event), event, "lineage", 12)
    assert use.facts.home == home_partition(KEY, 12)
    return change_row(use.facts, change)


def _numbers(row: Row) -> Row:
    """What the row adds to the revision, to the number of requests, and to the sums."""
    return (*row[:2], *row[8:])
