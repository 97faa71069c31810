"""What is left of an hour: what this node has admitted, and what others say in whatever order they come."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.totals import HOUR_SECONDS, WindowCount
from services.api.limits.due import DueSignal
from services.api.limits.lineage_counts import acknowledge, count_of
from services.api.limits.rate_limits import RateLimits
from services.api.limits.window_tables import WindowTables
from tests.builders import fresh_id
from tests.unit.api.limits.node import (
    BEGIN,
    HOUR,
    LINEAGE_ID,
    ME,
    OTHER_LINEAGE_ID,
    NodeProcess,
    a_count,
    a_key,
    a_node,
)


def test_ten_pass_and_no_more_until_the_next_hour(node: NodeProcess) -> None:
    key = a_key(10)

    assert node.admits(key, 12) == [True] * 10 + [False] * 2
    assert node.admits(key, at=BEGIN + HOUR_SECONDS - 0.001) == [False]
    assert node.admits(key, 12, at=BEGIN + HOUR_SECONDS) == [True] * 10 + [False] * 2


def test_a_window_may_have_another_length(tmp_path: Path) -> None:
    tables, signal = WindowTables(tmp_path, length_seconds=60, first_slots=64), DueSignal(tmp_path)
    limits = RateLimits(tables, signal)

    admitted = [limits.admit(a_key(1), BEGIN + second) for second in (0, 59.9, 60, 119.9)]

    assert admitted == [True, False, True, False]
    signal.close()
    tables.close()


def test_what_is_refused_is_not_counted(node: NodeProcess) -> None:
    node.admits(a_key(3), 100)

    assert node.left(a_key(5)) == 2


def test_asking_what_is_left_counts_and_keeps_nothing(node: NodeProcess) -> None:
    assert [node.left(a_key(10)) for _ in range(3)] == [10] * 3
    assert (node.table.used, node.table.lineages) == (0, 0)


def test_a_rotated_key_goes_on_in_the_window_of_its_lineage(node: NodeProcess) -> None:
    node.admits(a_key(10), 6)
    new_key = a_key(10, key_id=fresh_id())

    assert node.left(new_key) == 4
    assert node.admits(new_key, 5) == [True] * 4 + [False]


def test_other_lineages_are_another_matter(node: NodeProcess) -> None:
    node.admits(a_key(10), 10)

    assert node.left(a_key(10, OTHER_LINEAGE_ID)) == 10


def test_more_keys_are_counted_than_a_worker_remembers_the_places_of(tmp_path: Path) -> None:
    worker = NodeProcess(tmp_path, remembered=4)
    keys = [a_key(3, fresh_id()) for _ in range(40)]

    admitted = [worker.admits(key) for _ in range(4) for key in keys]

    assert admitted == [[True]] * 120 + [[False]] * 40
    assert len(worker.limits._recent) + len(worker.limits._older) <= 8
    worker.close()


def test_workers_of_a_node_share_a_limit_to_the_last_request(tmp_path: Path) -> None:
    workers = [NodeProcess(tmp_path) for _ in range(4)]

    admitted = [workers[number % 4].admits(a_key(10)) for number in range(100)]

    assert admitted == [[True]] * 10 + [[False]] * 90
    for worker in workers:
        worker.close()


def test_what_others_admitted_is_gone(node: NodeProcess) -> None:
    node.admits(a_key(10), 2)
    node.learns(a_count(3, "one"))
    node.learns(a_count(4, "two"))

    assert node.left(a_key(10)) == 1
    assert node.admits(a_key(10), 2) == [True, False]


def test_ones_own_count_comes_back_from_the_log_and_counts_once(node: NodeProcess) -> None:
    node.admits(a_key(10), 2)
    node.learns(a_count(2, ME))

    assert node.left(a_key(10)) == 8


def test_what_the_table_lost_but_the_log_has_of_this_node_counts_again(node: NodeProcess) -> None:
    """After a power failure, or where an older copy of the folder was put back."""
    node.admits(a_key(10), 2)
    node.learns(a_count(7, ME))
    node.learns(a_count(6, ME))

    assert node.left(a_key(10)) == 3


def test_what_the_log_had_of_this_node_is_no_news_where_more_was_admitted_since(node: NodeProcess) -> None:
    node.admits(a_key(10), 5)
    node.learns(a_count(3, ME))

    assert node.left(a_key(10)) == 5


def test_an_older_count_of_a_node_that_comes_late_says_nothing(node: NodeProcess) -> None:
    for counter in (a_count(5, "one"), a_count(3, "one"), a_count(2, "two")):
        node.learns(counter)

    assert node.left(a_key(10)) == 3


@pytest.mark.parametrize(
    ("validated", "reported", "left", "passing"),
    [(4, 7, 3, 6), (7, 4, 3, 3), (0, 12, 0, 0)],
    ids=["more reported", "more validated", "only reported"],
)
def test_a_request_that_was_validated_and_reported_counts_once(
    node: NodeProcess, validated: int, reported: int, left: int, passing: int
) -> None:
    """What is admitted here is reported too, sooner or later, and most of it was already."""
    node.admits(a_key(10), validated)
    node.learns(a_count(reported, LINEAGE_ID, kind="reports"))

    assert node.left(a_key(10)) == left
    assert node.admits(a_key(10), 11) == [True] * passing + [False] * (11 - passing)


@pytest.mark.parametrize("hour", [HOUR - 1, HOUR + 2], ids=["over", "far ahead"])
def test_counts_of_hours_that_are_no_concern_leave_nothing_behind(node: NodeProcess, hour: int) -> None:
    node.learns(a_count(10, hour=hour))

    assert node.left(a_key(10)) == 10
    assert node.left(a_key(10), BEGIN + HOUR_SECONDS) == 10
    assert node.tables.existing(hour) is None


def test_a_node_whose_clock_is_ahead_is_remembered_for_the_next_hour(node: NodeProcess) -> None:
    node.learns(a_count(4, hour=HOUR + 1), BEGIN + HOUR_SECONDS - 1)

    assert node.left(a_key(10), BEGIN + HOUR_SECONDS - 1) == 10
    assert node.left(a_key(10), BEGIN + HOUR_SECONDS) == 6
    node.learns(a_count(3, "one", hour=HOUR + 1), BEGIN + HOUR_SECONDS)
    assert node.left(a_key(10), BEGIN + HOUR_SECONDS) == 3


COUNTERS = st.builds(
    a_count,
    st.integers(0, 12),
    st.sampled_from(["one", "two", "three"]),
    kind=st.sampled_from(["validations", "reports"]),
    lineage_id=st.sampled_from([LINEAGE_ID, OTHER_LINEAGE_ID]),
)


@given(counters=st.lists(COUNTERS, max_size=30), seed=st.integers(0, 1000), own=st.integers(0, 12))
def test_any_order_and_any_repetition_of_counters_gives_the_same_view(
    counters: list[WindowCount], seed: int, own: int
) -> None:
    views = []
    shuffled = random.Random(seed).sample(counters * 2, k=2 * len(counters))
    for order in (counters, shuffled):
        with a_node() as node:
            node.admits(a_key(10**6), own)
            for counter in order:
                node.learns(counter)
            views.append([node.left(a_key(10, one)) for one in (LINEAGE_ID, OTHER_LINEAGE_ID)])

    assert views[0] == views[1]


@given(happenings=st.lists(st.one_of(st.just("ask"), st.just("publish"), COUNTERS), max_size=60))
def test_one_node_never_admits_more_than_the_limit_and_never_has_less_than_nothing_left(
    happenings: list[str | WindowCount],
) -> None:
    key, admitted = a_key(10), 0
    with a_node() as node:
        for happening in happenings:
            left = node.left(key)
            if happening == "ask":
                (passes,) = node.admits(key)
                assert passes == (left > 0)
                admitted += passes
            elif happening == "publish":
                node.publishes()
            elif isinstance(happening, WindowCount):
                node.learns(happening)
            assert 0 <= node.left(key) <= 10 - admitted


class TestBecomingDue:
    def test_the_first_admission_at_once_then_by_hundredths_of_what_is_left(self, node: NodeProcess) -> None:
        key, sent_at = a_key(1000), []
        for number in range(1, 1001):
            assert node.admits(key) == [True]
            if node.due():
                sent_at.append(number)
                node.publishes()

        steps = [later - earlier for earlier, later in itertools.pairwise(sent_at)]
        assert sent_at[:3] == [1, 10, 19]
        assert steps == sorted(steps, reverse=True)
        assert set(range(801, 1001)) <= set(sent_at)

    def test_a_window_is_due_once_however_many_are_admitted_meanwhile(self, node: NodeProcess) -> None:
        node.admits(a_key(100))
        slot = node.slot()
        node.admits(a_key(100), 49)
        assert node.due() == [50]

        assert acknowledge(node.table, slot, 1)
        assert node.due() == [50]
        assert not acknowledge(node.table, slot, 50)
        assert node.unpublished() == []

    def test_what_others_take_brings_the_end_nearer(self, node: NodeProcess) -> None:
        """Otherwise they would not hear of the last ones that were admitted here before the limit."""
        node.admits(a_key(1000))
        node.publishes()
        node.admits(a_key(1000), 5)
        assert node.due() == []
        node.table.take_untold()

        node.learns(a_count(500))

        assert node.due() == [6]
        assert node.table.take_untold()

    def test_what_is_far_from_the_limit_is_unpublished_but_not_due(self, node: NodeProcess) -> None:
        node.admits(a_key(100_000))
        node.publishes()
        node.admits(a_key(100_000))

        assert (node.due(), node.unpublished()) == ([], [2])

    def test_what_was_published_late_does_not_hide_what_came_since(self, node: NodeProcess) -> None:
        node.admits(a_key(100_000), 3)

        acknowledge(node.table, node.slot(), 1)

        assert node.unpublished() == [3]
        acknowledge(node.table, node.slot(), 3)
        assert node.unpublished() == []

    def test_nobody_who_could_listen_makes_the_follower_look_by_itself(self, node: NodeProcess) -> None:
        node.admits(a_key(10))

        assert node.table.take_untold()
        assert not node.table.take_untold()


class TestLastUsed:
    def test_each_key_of_the_lineage_is_named_with_its_own_time(self, node: NodeProcess) -> None:
        keys = [a_key(10, key_id=fresh_id()) for _ in range(3)]
        for second, number in enumerate((0, 1, 0, 2, 0)):
            node.admits(keys[number], at=BEGIN + second + 0.5)

        count, last_used = count_of(node.table, node.slot())

        assert count == 5
        seconds = {key_id: ms / 1000 - BEGIN for key_id, ms in last_used.items()}
        assert seconds == dict(zip([key.key_id for key in keys], (4.5, 1.5, 3.5), strict=True))

    def test_the_first_key_has_the_id_of_its_lineage_and_is_told_apart_from_it(
        self, node: NodeProcess
    ) -> None:
        first, second = a_key(10), a_key(10, key_id=fresh_id())
        for number, key in enumerate((first, second, first, second)):
            node.admits(key, at=BEGIN + number)

        count, last_used = count_of(node.table, node.slot())

        assert (count, set(last_used)) == (4, {first.key_id, second.key_id})
        assert node.left(first) == 6
