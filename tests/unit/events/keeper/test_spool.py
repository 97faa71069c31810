"""Rows on disk come back by place, in the order in which they were added, from little memory."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events.keeper import spool
from events.keeper.spool import SHARES, Spool

HOUR = datetime(2026, 1, 1, tzinfo=UTC)


def test_items_of_a_place_are_in_one_share_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "ROWS_IN_MEMORY", 7)
    with Spool[tuple[str, datetime], int]() as spooled:
        for number in range(100):
            spooled.add((f"key {number % 10}", HOUR + timedelta(hours=number % 2)), number)
        shares = [list(spooled.share(number)) for number in range(SHARES)]
        assert [item for share in shares for item in share] == list(spooled)
    for number in range(10):
        place = (f"key {number}", HOUR + timedelta(hours=number % 2))
        holding = [share for share in shares if any(at == place for at, _ in share)]
        assert len(holding) == 1
        assert [item for at, item in holding[0] if at == place] == list(range(number, 100, 10))


def test_two_spools_deal_out_alike() -> None:
    with Spool[tuple[str], int]() as one, Spool[tuple[str], str]() as other:
        for number in range(50):
            one.add((str(number),), number)
            other.add((str(49 - number),), str(49 - number))
        for number in range(SHARES):
            assert {at for at, _ in one.share(number)} == {at for at, _ in other.share(number)}


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def most_memory(rows: int) -> int:
        tracemalloc.start()
        try:
            with Spool[tuple[int], tuple[int, str]]() as spooled:
                for number in range(rows):
                    spooled.add((number,), (number, f"a text of its own, {number}"))
                for number in range(SHARES):
                    assert len(dict(spooled.share(number))) <= rows
                assert list(tmp_path.iterdir()) == [], "the file has a name"
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert most_memory(200_000) < 2 * most_memory(25_000)
