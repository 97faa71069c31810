"""Windows as rows: sorted as the tables are, so that two processes never wait for each other in a circle."""

from __future__ import annotations

from services.projector.rate_windows_counts import Window, WindowKey
from services.projector.rate_windows_rows import activity_rows, window_rows

WINDOWS: dict[WindowKey, Window] = {
    ("b", 100): {
        "nodes": {"two": ("reports", 2), "one": ("validations", 1)},
        "last_used": {"k2": 5, "k1": 7},
    },
    ("a", 100): {"nodes": {"one": ("validations", 3)}, "last_used": {}},
    ("a", 99): {"nodes": {"one": ("validations", 4)}, "last_used": {"k1": 6}},
}


def test_each_node_is_a_row_of_the_hours_that_are_kept() -> None:
    assert window_rows(WINDOWS, oldest_hour=100) == [
        (100, "a", "one", "validations", 3),
        (100, "b", "one", "validations", 1),
        (100, "b", "two", "reports", 2),
    ]
    assert window_rows(WINDOWS, oldest_hour=99)[0] == (99, "a", "one", "validations", 4)


def test_each_key_is_one_row_with_its_latest_use() -> None:
    assert activity_rows(WINDOWS) == [("k1", 7), ("k2", 5)]
