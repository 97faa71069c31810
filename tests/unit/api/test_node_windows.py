"""Workers of one node hear of each other's counts at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.totals import HOUR_SECONDS
from services.api import node_windows
from services.api.node import Node
from services.api.node_windows import NUMBERS, NodeWindows
from services.api.rate_windows import RateWindows
from tests.builders import fresh_id
from tests.unit.api.test_rate_windows import BEGIN, a_count, a_key


class Neighbour:
    """One worker of the node; what is due of its windows is never published."""

    def __init__(self, folder: Path, node_id: str) -> None:
        self.node = Node(folder, 2, 3, NUMBERS)
        self.node.enter()
        self.node_windows = NodeWindows(self.node, node_id)
        self.node_windows.sit()
        self.windows = RateWindows(node_id, lambda window: None, self.node_windows)

    def admits(self, limit: int = 10, lineage_id: str | None = None, at: float = BEGIN) -> bool:
        return self.windows.admit(a_key(limit, lineage_id) if lineage_id else a_key(limit), at)


def neighbours(folder: Path, count: int = 2) -> list[Neighbour]:
    folder.mkdir(exist_ok=True)
    found = [Neighbour(folder, f"{number:032x}") for number in range(2**127, 2**127 + count)]
    for one in found:
        one.node_windows.look_around()
    return found


def test_they_share_a_limit_to_the_last_request(tmp_path: Path) -> None:
    workers = neighbours(tmp_path, 4)

    admitted = [workers[number % 4].admits(10) for number in range(100)]

    assert admitted == [True] * 10 + [False] * 90


def test_a_count_that_comes_through_the_log_too_counts_once(tmp_path: Path) -> None:
    one, other = neighbours(tmp_path)
    for _ in range(4):
        one.admits()
    other.windows.learn(a_count(3, one.windows.node_id), BEGIN)
    assert [other.admits() for _ in range(7)] == [True] * 6 + [False]

    other.windows.learn(a_count(4, one.windows.node_id), BEGIN)

    assert other.windows.remaining(a_key(20), BEGIN) == 10


def test_the_next_hour_begins_with_nothing(tmp_path: Path) -> None:
    one, other = neighbours(tmp_path)
    assert [one.admits() for _ in range(11)] == [True] * 10 + [False]

    assert [other.admits(at=BEGIN + HOUR_SECONDS) for _ in range(4)] == [True] * 4
    assert [one.admits(at=BEGIN + HOUR_SECONDS) for _ in range(7)] == [True] * 6 + [False]


def test_what_a_neighbour_counted_an_hour_ago_says_nothing_of_this_one(tmp_path: Path) -> None:
    one, other = neighbours(tmp_path)
    assert [one.admits() for _ in range(10)] == [True] * 10
    one.admits(10, fresh_id(), at=BEGIN + HOUR_SECONDS)

    assert [other.admits(at=BEGIN + HOUR_SECONDS) for _ in range(11)] == [True] * 10 + [False]


def test_what_a_dead_neighbour_has_counted_stays_counted(tmp_path: Path) -> None:
    one, other = neighbours(tmp_path)
    for _ in range(10):
        one.admits()
    one.node.leave()
    other.node_windows.look_around()

    assert not other.admits()


def test_who_takes_a_seat_over_does_not_pass_for_its_predecessor(tmp_path: Path) -> None:
    """It would count anew under a name that has counted already, or its predecessor's use as its own."""
    one, other = neighbours(tmp_path)
    for _ in range(6):
        one.admits()
    one.node.leave()

    successor = Neighbour(tmp_path, f"{7:032x}")
    other.node_windows.look_around()

    assert [other.admits() for _ in range(3)] == [True] * 3
    assert [successor.admits() for _ in range(8)] == [True] * 7 + [False]
    assert not other.admits()


def test_what_a_successor_counts_comes_on_top_of_what_its_predecessor_had(tmp_path: Path) -> None:
    """Even before anybody has looked around."""
    one, other = neighbours(tmp_path)
    for _ in range(6):
        one.admits()
    assert other.admits()
    one.node.leave()

    successor = Neighbour(tmp_path, f"{7:032x}")
    assert successor.admits()
    assert successor.admits()

    assert [other.admits() for _ in range(2)] == [True, False]


def test_more_lineages_than_a_table_holds_are_counted_by_each_worker_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log tells the others of them."""
    monkeypatch.setattr(node_windows, "_MOST", 50)
    one, other = neighbours(tmp_path)
    lineages = [fresh_id() for _ in range(60)]
    for lineage_id in lineages * 2:
        one.admits(10, lineage_id)

    left = []
    for lineage_id in lineages:
        other.admits(10, lineage_id)
        left.append(other.windows.remaining(a_key(10, lineage_id), BEGIN))

    assert left == [7] * 50 + [9] * 10


def test_lineages_that_meet_in_one_slot_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_windows, "SLOTS", 64)
    one, other = neighbours(tmp_path)
    lineages = [fresh_id() for _ in range(60)]
    for number, lineage_id in enumerate(lineages):
        for _ in range(number % 5):
            one.admits(10, lineage_id)

    for lineage_id in lineages:
        other.admits(10, lineage_id)

    left = [other.windows.remaining(a_key(10, lineage_id), BEGIN) for lineage_id in lineages]
    assert left == [9 - number % 5 for number in range(60)]
