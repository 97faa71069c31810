"""What takes too long is asked for less, down to a single row; that it stands still is told."""

from __future__ import annotations

import pytest
from psycopg import OperationalError
from psycopg.errors import QueryCanceled

from events.batch_size import BATCHES_BEFORE_GROWTH, BatchSize

pytestmark = pytest.mark.anyio


async def _takes_too_long() -> int:
    raise QueryCanceled("canceling statement due to statement timeout")


async def _passes() -> int:
    return 7


async def test_each_query_that_takes_too_long_halves_it_down_to_one_row_which_stands_still(
    caplog: pytest.LogCaptureFixture,
) -> None:
    timeouts: list[None] = []
    size = BatchSize("closing", 5, lambda: timeouts.append(None))
    assert size.now == 5
    for now in (2, 1):
        assert await size.run(_takes_too_long) is None
        assert size.now == now
        assert not size.is_stalled
    assert "closing stands still" not in caplog.text
    assert await size.run(_takes_too_long) is None
    assert (size.now, size.is_stalled, len(timeouts)) == (1, True, 3)
    assert "closing stands still: a single row takes too long: canceling statement" in caplog.text
    assert await size.run(_passes) == 7
    assert not size.is_stalled


async def test_it_grows_again_once_many_batches_have_passed() -> None:
    size = BatchSize("closing", 5)
    await size.run(_takes_too_long)
    for now in (2, 4, 5, 5):
        assert size.now == now
        for _ in range(BATCHES_BEFORE_GROWTH):
            await size.run(_passes)


async def test_other_errors_are_those_of_the_caller() -> None:
    async def fails() -> int:
        raise OperationalError("no connection")

    size = BatchSize("closing", 5)
    with pytest.raises(OperationalError):
        await size.run(fails)
    assert size.now == 5
