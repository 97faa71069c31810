"""An offset says that the rows include every counter before it: it is never written for less."""

from __future__ import annotations

import pytest

from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from services.projector.rate_windows_rows import SchemaRemade, write
from services.projector.rate_windows_unwritten import Changes, Stretch
from services.projector.schema import projector_schema

pytestmark = pytest.mark.anyio

TOPIC = "ratelimit.counters"


async def test_only_what_follows_on_what_the_rows_include_is_passed(database_url: str) -> None:
    async with await connect(database_url, "projector") as connection:
        await prepare_schema(connection, projector_schema())
        with pytest.raises(SchemaRemade) as remade:
            await write(connection, TOPIC, _changes(), 0, None)
        for first, following, is_passed in (
            (3, 5, False),  # the rows include nothing yet
            (0, 5, True),
            (5, 9, True),
            (12, 13, False),  # what lies in between was not handled
            (4, 7, True),  # once more from before: less is as true
            (9, 11, False),
            (7, 11, True),
        ):
            passed = await write(connection, TOPIC, _changes(Stretch(first, following)), 0, remade.value.made)
            assert (passed == {3}) is is_passed, (first, following)
        rows = await (await connection.execute("SELECT partition, next_offset FROM positions")).fetchall()
        assert rows == [(3, 11)]


def _changes(*stretches: Stretch) -> Changes:
    return Changes({}, dict.fromkeys([3], *stretches) if stretches else {}, 0, None)
