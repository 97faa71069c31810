"""What is left of an hour: this worker's own count, and the others' in whatever order they come."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.lineage import Key
from events.totals import HOUR_SECONDS, WindowCount
from services.api.known_key import KnownKey
from services.api.rate_windows import PUBLISH_SECONDS, RateWindows, Window
from tests.builders import fresh_id
from tests.unit.api.workers import SETTINGS

HOUR = 500_000
BEGIN = float(HOUR * HOUR_SECONDS)
LINEAGE, OTHER_LINEAGE, KEY = fresh_id(), fresh_id(), fresh_id()


class Desk:
    """One worker's windows, and all that became due of them, with the count at that moment."""

    def __init__(self) -> None:
        self.due: list[tuple[Window, int]] = []
        self.windows = RateWindows("me", lambda window: self.due.append((window, window.own)))

    def admits(self, key: KnownKey, count: int = 1, at: float = BEGIN) -> list[bool]:
        return [self.windows.admit(key, at) for _ in range(count)]

    def publishes(self, at: float = BEGIN) -> None:
        """The log has taken what was due."""
        sent, self.due = self.due, []
        for window, count in sent:
            self.windows.publish_done(window, count, at)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def a_key(limit: int = 10, lineage_id: str = LINEAGE, key_id: str = KEY) -> KnownKey:
    settings = SETTINGS._replace(rate_limit_per_hour=limit)
    facts: dict[str, Any] = dict.fromkeys(Key._fields)
    key = Key(**{**facts, "key_id": key_id, "lineage_id": lineage_id, "settings": settings})
    return KnownKey(key, is_parked=False)


def a_count(count: int, node_id: str = "another", **facts: Any) -> WindowCount:
    told = {"kind": "validations", "lineage_id": LINEAGE, "hour": HOUR, **facts}
    return WindowCount(node_id=node_id, count=count, **told)


def test_ten_pass_and_no_more_until_the_next_hour(desk: Desk) -> None:
    key = a_key(10)

    assert desk.admits(key, 12) == [True] * 10 + [False] * 2
    assert desk.admits(key, at=BEGIN + HOUR_SECONDS - 0.001) == [False]
    assert desk.admits(key, 12, at=BEGIN + HOUR_SECONDS) == [True] * 10 + [False] * 2


def test_what_is_refused_is_not_counted(desk: Desk) -> None:
    desk.admits(a_key(3), 100)

    assert desk.windows.remaining(a_key(5), BEGIN) == 2


def test_asking_what_is_left_counts_and_keeps_nothing(desk: Desk) -> None:
    assert [desk.windows.remaining(a_key(10), BEGIN) for _ in range(3)] == [10] * 3
    assert len(desk.windows) == 0


def test_a_rotated_key_goes_on_in_the_window_of_its_lineage(desk: Desk) -> None:
    desk.admits(a_key(10), 6)
    new_key = a_key(10, key_id=fresh_id())

    assert desk.windows.remaining(new_key, BEGIN) == 4
    assert desk.admits(new_key, 5) == [True] * 4 + [False]


def test_other_lineages_are_another_matter(desk: Desk) -> None:
    desk.admits(a_key(10), 10)

    assert desk.windows.remaining(a_key(10, OTHER_LINEAGE), BEGIN) == 10


def test_what_others_admitted_is_gone(desk: Desk) -> None:
    desk.admits(a_key(10), 2)
    desk.windows.learn(a_count(3, "one"), BEGIN)
    desk.windows.learn(a_count(4, "two"), BEGIN)

    assert desk.windows.remaining(a_key(10), BEGIN) == 1
    assert desk.admits(a_key(10), 2) == [True, False]


def test_ones_own_count_comes_back_from_the_log_and_counts_once(desk: Desk) -> None:
    desk.admits(a_key(10), 2)
    desk.windows.learn(a_count(2, "me"), BEGIN)

    assert desk.windows.remaining(a_key(10), BEGIN) == 8


@pytest.mark.parametrize(
    ("validated", "reported", "left", "passing"),
    [(4, 7, 3, 6), (7, 4, 3, 3), (0, 12, 0, 0)],
    ids=["more reported", "more validated", "only reported"],
)
def test_a_request_that_was_validated_and_reported_counts_once(
    desk: Desk, validated: int, reported: int, left: int, passing: int
) -> None:
    """What is admitted here is reported too, sooner or later, and most of it was already."""
    desk.admits(a_key(10), validated)
    desk.windows.learn(a_count(reported, KEY, kind="reports"), BEGIN)

    assert desk.windows.remaining(a_key(10), BEGIN) == left
    assert desk.admits(a_key(10), 11) == [True] * passing + [False] * (11 - passing)


@pytest.mark.parametrize("hour", [HOUR - 1, HOUR + 2], ids=["over", "far ahead"])
def test_counts_of_hours_that_are_no_concern_leave_nothing_behind(desk: Desk, hour: int) -> None:
    desk.windows.learn(a_count(10, hour=hour), BEGIN)

    assert desk.windows.remaining(a_key(10), BEGIN) == 10
    assert desk.windows.remaining(a_key(10), BEGIN + HOUR_SECONDS) == 10
    assert len(desk.windows) == 0


def test_a_node_whose_clock_is_ahead_is_remembered_for_the_next_hour(desk: Desk) -> None:
    desk.windows.learn(a_count(4, hour=HOUR + 1), BEGIN + HOUR_SECONDS - 1)

    assert desk.windows.remaining(a_key(10), BEGIN + HOUR_SECONDS - 1) == 10
    assert desk.windows.remaining(a_key(10), BEGIN + HOUR_SECONDS) == 6


COUNTERS = st.builds(
    a_count,
    st.integers(0, 12),
    st.sampled_from(["one", "two", "three"]),
    kind=st.sampled_from(["validations", "reports"]),
    lineage_id=st.sampled_from([LINEAGE, OTHER_LINEAGE]),
)


@given(counters=st.lists(COUNTERS, max_size=30), seed=st.integers(0, 1000), own=st.integers(0, 12))
def test_any_order_and_any_repetition_of_counters_gives_the_same_view(
    counters: list[WindowCount], seed: int, own: int
) -> None:
    views = []
    shuffled = random.Random(seed).sample(counters * 2, k=2 * len(counters))
    for order in (counters, shuffled):
        desk = Desk()
        desk.admits(a_key(10**6), own)
        for counter in order:
            desk.windows.learn(counter, BEGIN)
        views.append([desk.windows.remaining(a_key(10, one), BEGIN) for one in (LINEAGE, OTHER_LINEAGE)])

    assert views[0] == views[1]


@given(happenings=st.lists(st.one_of(st.just("ask"), st.just("publish"), COUNTERS), max_size=60))
def test_one_node_never_admits_more_than_the_limit_and_never_has_less_than_nothing_left(
    happenings: list[str | WindowCount],
) -> None:
    desk, key, admitted = Desk(), a_key(10), 0
    for happening in happenings:
        left = desk.windows.remaining(key, BEGIN)
        if happening == "ask":
            passes = desk.windows.admit(key, BEGIN)
            assert passes == (left > 0)
            admitted += passes
        elif happening == "publish":
            desk.publishes()
        elif isinstance(happening, WindowCount):
            desk.windows.learn(happening, BEGIN)
        assert 0 <= desk.windows.remaining(key, BEGIN) <= 10 - admitted


class TestPublishing:
    def test_the_first_admission_at_once_then_by_hundredths_of_what_is_left(self, desk: Desk) -> None:
        key, sent_at = a_key(1000), []
        for number in range(1, 1001):
            assert desk.windows.admit(key, BEGIN)
            if desk.due:
                sent_at.append(number)
                desk.publishes()

        steps = [later - earlier for earlier, later in itertools.pairwise(sent_at)]
        assert sent_at[:3] == [1, 10, 19]
        assert steps == sorted(steps, reverse=True)
        assert set(range(801, 1001)) <= set(sent_at)

    def test_a_window_waits_once_however_many_are_admitted_meanwhile(self, desk: Desk) -> None:
        desk.admits(a_key(100), 50)
        assert len(desk.due) == 1

        desk.publishes()

        assert [(window.own, count) for window, count in desk.due] == [(50, 50)]

    def test_what_others_take_brings_the_end_nearer(self, desk: Desk) -> None:
        """Otherwise they would not hear of the last ones that were admitted here before the limit."""
        desk.admits(a_key(1000))
        desk.publishes()
        desk.admits(a_key(1000), 5)
        assert desk.due == []

        desk.windows.learn(a_count(500), BEGIN)

        assert [count for _, count in desk.due] == [6]

    def test_what_is_far_from_the_limit_waits_for_minutes_and_no_longer(self, desk: Desk) -> None:
        desk.admits(a_key(100_000))
        desk.publishes()
        desk.admits(a_key(100_000), at=BEGIN + 100)
        for seconds in (101, 99 + PUBLISH_SECONDS):
            desk.windows.sweep(BEGIN + seconds)
            assert desk.due == []

        for _ in range(2):
            desk.windows.sweep(BEGIN + 100 + PUBLISH_SECONDS)

        assert [count for _, count in desk.due] == [2]
        assert PUBLISH_SECONDS < 300

    def test_what_the_hour_has_ended_before_is_published_all_the_same(self, desk: Desk) -> None:
        desk.admits(a_key(100_000))
        desk.publishes()
        desk.admits(a_key(100_000), at=BEGIN + HOUR_SECONDS - 1)

        desk.windows.sweep(BEGIN + HOUR_SECONDS + PUBLISH_SECONDS)

        assert [(window.hour, count) for window, count in desk.due] == [(HOUR, 2)]

    def test_it_says_when_each_key_of_the_lineage_was_admitted_last(self, desk: Desk) -> None:
        other = fresh_id()
        desk.admits(a_key(10), at=BEGIN + 1)
        desk.admits(a_key(10, key_id=other), at=BEGIN + 2)
        desk.admits(a_key(10), at=BEGIN + 3.5)

        ((window, _),) = desk.due
        assert desk.windows.count_of(window) == a_count(
            3, "me", last_used={KEY: int(BEGIN + 3.5) * 1000 + 500, other: int(BEGIN + 2) * 1000}
        )

    def test_what_was_published_late_does_not_hide_what_came_since(self, desk: Desk) -> None:
        desk.admits(a_key(100_000), 3)
        ((window, _),) = desk.due

        desk.windows.publish_done(window, 1, BEGIN)

        assert desk.windows.unpublished() == [window]
        desk.windows.publish_done(window, 3, BEGIN)
        assert desk.windows.unpublished() == []


def test_hours_that_are_over_are_forgotten_a_part_at_a_time(desk: Desk) -> None:
    for _ in range(30):
        desk.windows.admit(a_key(10, fresh_id()), BEGIN)
    desk.publishes()
    windows = desk.windows

    kept = []
    for _ in range(5):
        windows.sweep(BEGIN + HOUR_SECONDS, most=10)
        kept.append(sum(map(len, windows._over)))

    assert kept == [20, 10, 0, 0, 0]
    assert (len(windows), windows.unpublished(), windows._over) == (0, [], [])
