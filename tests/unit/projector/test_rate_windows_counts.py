"""Counters are merged by maximum: doubled, late or out of order, the window ends the same."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.clock import Clock
from events.codec import encode
from events.errors import UnreadableRecord
from events.totals import WindowCount
from services.projector.rate_windows_counts import Window, counter_in, merge, oldest_hour
from tests.builders import some_usage

LINEAGE, KEY = "0190a000-0000-7000-8000-000000000001", "0190a000-0000-7000-8000-000000000002"
EMPTY: Any = {}
COUNTER = encode(
    WindowCount(node_id="one", kind="validations", lineage_id=LINEAGE, hour=100, count=1, last_used={KEY: 5})
)

counters = st.builds(
    lambda node, count, used: a_counter(node_id=node, count=count, last_used=used),
    st.sampled_from(["one", "other"]),
    st.integers(0, 5),
    st.dictionaries(st.sampled_from([LINEAGE, KEY]), st.integers(0, 5)),
)


@given(st.lists(counters).flatmap(lambda some: st.tuples(st.just(some), st.permutations([*some, *some[:3]]))))
def test_order_and_repetition_change_nothing(both: tuple[list[WindowCount], list[WindowCount]]) -> None:
    once, shuffled = both
    assert reduce(merge, shuffled, EMPTY) == reduce(merge, once, EMPTY)


def test_each_node_has_its_highest_count_and_each_key_its_latest_use() -> None:
    some = [
        a_counter(node_id="one", count=3, last_used={KEY: 30}),
        a_counter(node_id="one", count=2, last_used={KEY: 40}),
        a_counter(node_id=KEY, kind="reports", count=0, last_used={}),
    ]
    window = reduce(merge, some, EMPTY)
    assert window["nodes"] == {"one": ("validations", 3), KEY: ("reports", 0)}
    assert window["last_used"] == {KEY: 40}


def test_a_counter_that_says_nothing_new_leaves_the_very_window() -> None:
    window = merge(EMPTY, a_counter(count=3, last_used={KEY: 30}))
    assert merge(window, a_counter(count=3, last_used={KEY: 29})) is window


def test_a_window_that_others_hold_is_not_changed() -> None:
    window: Window = {"nodes": {"one": ("validations", 1)}, "last_used": {}}
    merge(window, a_counter(node_id="one", count=2, last_used={KEY: 1}))
    assert (window["nodes"], window["last_used"]) == ({"one": ("validations", 1)}, {})


def test_what_was_written_is_read() -> None:
    assert counter_in(LINEAGE.encode(), COUNTER) == a_counter(last_used={KEY: 5})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(LINEAGE.encode(), None, id="no value"),
        pytest.param(LINEAGE.encode(), b"{", id="no JSON"),
        pytest.param(LINEAGE.encode(), encode(some_usage()), id="an event of another topic"),
        pytest.param(None, COUNTER, id="no key"),
        pytest.param(KEY.encode(), COUNTER, id="another lineage's key"),
    ],
)
def test_what_is_no_counter_of_its_lineage_is_unreadable(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(UnreadableRecord):
        counter_in(key, value)


def test_an_hour_is_kept_until_it_has_been_over_for_three() -> None:
    just_before, then = 100 * 3600 - 0.001, 100 * 3600
    assert oldest_hour(Clock(wall=lambda: just_before, boottime=lambda: 0.0)) == 96
    assert oldest_hour(Clock(wall=lambda: then, boottime=lambda: 0.0)) == 97


def a_counter(**overrides: Any) -> WindowCount:
    values = {"node_id": "one", "kind": "validations", "lineage_id": LINEAGE, "hour": 100, "count": 1}
    return WindowCount(**{**values, **overrides})
