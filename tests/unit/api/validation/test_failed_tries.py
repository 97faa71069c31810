"""How often somebody has failed lately."""

from __future__ import annotations

import pytest

from services.api.validation import failed_tries
from services.api.validation.failed_tries import FailedTries


def test_failures_count_for_so_long_and_no_longer() -> None:
    tries = FailedTries(60)
    for seconds in (100.0, 130.0, 150.0):
        tries.add("a", seconds)

    assert [tries.since("a", at) for at in (150.0, 159.9, 160.0, 190.0, 210.0)] == [3, 3, 2, 1, 0]


def test_each_name_has_its_own() -> None:
    tries = FailedTries(60)
    tries.add("a", 100.0)

    assert tries.since("b", 100.0) == 0


def test_asking_keeps_nothing() -> None:
    tries = FailedTries(60)
    tries.add("a", 100.0)
    tries.since("a", 200.0)
    tries.since("b", 200.0)

    assert tries._times == {}


def test_whoever_failed_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of names takes no more memory than that."""
    monkeypatch.setattr(failed_tries, "MOST_NAMES", 3)
    tries = FailedTries(60)
    for number, name in enumerate(["a", "b", "c", "a", "d", "e"]):
        tries.add(name, float(number))

    assert {name: tries.since(name, 6.0) for name in "abcde"} == {"a": 2, "b": 0, "c": 0, "d": 1, "e": 1}
