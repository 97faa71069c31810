"""The picture is disposable: dropped, it comes back row for row."""

from __future__ import annotations

import pytest

from services.projector.schema import SCHEMA_VERSION
from tests.builders import a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting
from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio

TABLES = ("lineage", "key", "key_event", "log_identity")


async def test_the_schema_dropped_and_the_projector_started_again_the_same_rows_come_back(
    world: World,
) -> None:
    created = a_key_created()
    lost = a_key_rotated(created)
    await world.append([*lives(299), created, a_key_revoked(lost)])
    first = world.projector()
    await world.caught_up(301)
    before = await _rows(world)
    assert before["lineage"]
    await world.execute("DROP SCHEMA projector CASCADE")
    # It notices with its next batch, and leaves the rebuild to its next start.
    await world.append(lives(1))
    await eventually(lambda: first.exit_code == 1, "it to end")
    world.projector()
    await world.caught_up(302)
    after = await _rows(world)
    for table in TABLES:
        assert before[table] <= after[table]
    assert len(after["key_event"]) == len(before["key_event"]) + 1


async def test_a_schema_of_another_version_is_dropped_and_filled_again(world: World) -> None:
    await world.append(lives(30))
    async with world.runner():
        await world.caught_up(30)
    before = await _rows(world)
    await world.execute("UPDATE projector.schema_version SET version = 0")
    await world.execute("DELETE FROM projector.key")
    async with world.runner():
        await world.caught_up(30)
    assert await _rows(world) == before
    assert await world.value("SELECT version FROM projector.schema_version") == SCHEMA_VERSION


async def test_a_fingerprint_that_a_key_was_given_later_is_in_its_row_and_comes_back(world: World) -> None:
    created = a_key_created(pepper_id="retired")
    event = a_refingerprinting(created, pepper_id="today")
    await world.append([created, event])
    async with world.runner():
        await world.caught_up(2)  # and the auditor finds it equal
    assert (
        await world.value("SELECT encode(fingerprint, 'hex') FROM projector.keys") == event.data.fingerprint
    )
    assert await world.value("SELECT pepper_id FROM projector.keys") == "today"
    assert await world.value("SELECT array_agg(outcome) FROM projector.key_event") == ["applied", "applied"]

    # An event later finds the lineage as it was read back, the fingerprint included.
    await world.append([a_key_revoked(created, sequence=3)])
    async with world.runner():
        await world.caught_up(3)
    assert await world.value("SELECT pepper_id FROM projector.keys") == "today"

    before = await _rows(world)
    await world.execute("DROP SCHEMA projector CASCADE")
    async with world.runner():
        await world.caught_up(3)
    after = await _rows(world)
    for table in ("lineage", "key", "key_event"):
        assert after[table] == before[table]


async def test_texts_that_mean_something_to_an_array_are_stored_as_they_are(world: World) -> None:
    awkward = ("a,b", 'quoted "twice"', "back\\slash", "{}", "NULL", " ", "tab\tand\nline", "é")
    await world.append([a_key_created(scopes=awkward, allowed_ips=awkward[::-1]), a_key_created(scopes=())])
    async with world.runner():
        await world.caught_up(2)  # and is row for row what the log says


async def _rows(world: World) -> dict[str, set[str]]:
    """Every row of every covered table, as text."""
    return {
        table: set(await world.value(f"SELECT array_agg({table}::text) FROM projector.{table}") or ())
        for table in TABLES
    }
