"""A transaction that hangs is told once, with its time; one that moves is no alarm."""

from __future__ import annotations

import logging

import pytest

from events.held_up import HeldUp
from tests.builders import CREATED_AT
from tests.fakes import ManualTime


@pytest.fixture
def time() -> ManualTime:
    return ManualTime(CREATED_AT)


@pytest.fixture
def held_up(time: ManualTime) -> HeldUp:
    return HeldUp("keys.usage", 60.0, time.boottime)


def test_a_partition_without_open_transactions_is_not_held_up(held_up: HeldUp, time: ManualTime) -> None:
    for end in (0, 10, 10):
        assert held_up.see(3, end, end) == 0
        time.pass_by(100)
    assert not held_up.is_too_long


def test_an_offset_that_stands_still_counts_from_when_it_was_seen_first(
    held_up: HeldUp, time: ManualTime
) -> None:
    assert held_up.see(3, 10, 12) == 0
    time.pass_by(59)
    assert held_up.see(3, 10, 500) == 59
    assert not held_up.is_too_long
    time.pass_by(1)
    assert held_up.is_too_long


def test_transactions_that_follow_each_other_are_no_alarm(held_up: HeldUp, time: ManualTime) -> None:
    for begin in range(10):
        assert held_up.see(3, begin, begin + 1) == 0
        time.pass_by(59)
    assert not held_up.is_too_long


def test_one_that_hangs_is_told_once_and_once_more_when_it_is_over(
    held_up: HeldUp, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        held_up.see(3, 10, 12)
        held_up.see(4, 7, 7)
        time.pass_by(40)
    held_up.see(3, 12, 12)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.ERROR,
            "keys.usage/3 is held up by a transaction that is open for 80 s: "
            "2 records from offset 10 on wait for its end",
        ),
        (logging.WARNING, "keys.usage/3 is not held up any more"),
    ]
    assert not held_up.is_too_long


def test_a_partition_that_others_read_now_is_their_affair(held_up: HeldUp, time: ManualTime) -> None:
    held_up.see(3, 10, 12)
    time.pass_by(100)
    held_up.forget(3)
    assert not held_up.is_too_long
