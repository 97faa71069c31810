"""The auditor finds every row that does not follow from the log, and knows what compaction may do."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from events.keeper.verification import Verification
from services.billing.months import due_at
from services.billing.verification import verify
from tests.billing_builders import FEBRUARY, JANUARY, an_hour
from tests.builders import a_key_created, fresh_id
from tests.fakes import ManualTime
from tests.integration.billing.world import World, when_due

pytestmark = pytest.mark.anyio

TAMPERED = {
    "UPDATE billing.hour SET predictions = predictions + 1": "the ledger of key",
    "UPDATE billing.hour SET named_revision = 1": "the revision that was billed",
    "DELETE FROM billing.hour": "is missing in Postgres",
    "INSERT INTO billing.hour (key_id, hour, lineage_id, revision) "
    "VALUES (gen_random_uuid(), now(), gen_random_uuid(), 1)": "does not follow from the log",
    "UPDATE billing.account SET monthly_prediction_limit = 3": "account",
    "UPDATE billing.statement SET total = 0": "differs in total",
    "DELETE FROM billing.statement": "is missing in Postgres",
    "UPDATE billing.statement_line SET amount = 0": "line 0 of statement",
    "UPDATE billing.watermark SET complete_until = '2200-01-01Z'": "the watermark",
    "UPDATE billing.projection_offset SET next_offset = 50": "Postgres is at offset 50, the log ends at",
    "UPDATE billing.projection_offset SET next_offset = 0 WHERE projection = 'statements'": (
        "does not follow from the log"
    ),
}


async def test_a_row_that_was_tampered_with_is_found_and_so_is_a_bill_that_is_wrong(world: World) -> None:
    created = a_key_created(monthly_prediction_limit=2)
    place = (created.subject, JANUARY)
    await world.append(created, an_hour(created.subject, JANUARY, requests=5), an_hour(fresh_id(), JANUARY))
    async with world.billing(when_due(JANUARY)):
        await world.statements_are(place)
        await world.caught_up()
    told: list[tuple[int, int]] = []
    found = await verify(
        world.kafka,
        world.topics,
        world.database_url,
        lambda *at: told.append(at),
        now=lambda: due_at(JANUARY),
    )
    assert found.problems == []
    assert {total for _, total in told} >= {1, 2}
    await _later_records_are_not_held_against_postgres(world, created.subject, JANUARY)
    tables = ("hour", "account", "statement", "statement_line", "projection_offset", "watermark")
    for table in tables:
        await world.rows(f"CREATE TABLE kept_{table} AS TABLE billing.{table}")
    await world.rows("ALTER TABLE kept_hour DROP COLUMN month")  # it is generated
    for tampering, finding in TAMPERED.items():
        await world.rows(tampering)
        differences = await world.differences()
        assert any(finding in difference for difference in differences), (tampering, differences)
        for table in tables:
            await world.rows(f"TRUNCATE billing.{table}")
            await world.rows(f"INSERT INTO billing.{table} TABLE kept_{table}")
    assert await world.differences() == []


async def test_a_month_that_was_due_and_is_not_closed_is_told_and_so_is_what_waits_to_be_sent(
    world: World,
) -> None:
    created = a_key_created()
    await world.append(created, an_hour(created.subject, JANUARY), an_hour(fresh_id(), JANUARY))
    async with world.billing(ManualTime(due_at(JANUARY) - timedelta(seconds=1))):
        await world.caught_up()
    found = await _verified(world, due_at(JANUARY) - timedelta(seconds=1))
    assert found.problems == []
    found = await _verified(world, due_at(JANUARY))
    assert found.due == {"2026-01": 1}, "use of a lineage that nobody has created can be on no statement"
    assert found.problems == [
        "use of 2026-01 is not on a statement of 1 lineages, and the month was due",
    ]
    async with world.billing(when_due(JANUARY)):
        await world.statements_are((created.subject, JANUARY))
        await world.caught_up()
    assert (await _verified(world, due_at(JANUARY))).problems == []
    await world.rows("INSERT INTO billing.outgoing VALUES (gen_random_uuid(), '2025-12-01', 1, '')")
    found = await _verified(world, due_at(JANUARY))
    assert found.problems == ["1 statements wait to be read back from billing.statements"]


async def test_use_that_is_told_late_is_due_with_the_next_month(world: World) -> None:
    created = a_key_created()
    await world.append(created, an_hour(created.subject, JANUARY))
    async with world.billing(when_due(JANUARY)):
        await world.statements_are((created.subject, JANUARY))
        await world.append(an_hour(created.subject, JANUARY, requests=9))
        await world.caught_up()
    assert (await _verified(world, due_at(FEBRUARY) - timedelta(seconds=1))).problems == []
    assert (await _verified(world, due_at(FEBRUARY))).due == {"2026-01": 1}


async def _verified(world: World, now: datetime) -> Verification:
    return await verify(world.kafka, world.topics, world.database_url, patience_seconds=0.5, now=lambda: now)


async def _later_records_are_not_held_against_postgres(world: World, key_id: str, month: date) -> None:
    """Compaction keeps the newest record of an hour, which may be one that Postgres has not passed."""
    await world.rows("CREATE TABLE kept AS TABLE billing.hour")
    await world.rows("ALTER TABLE kept DROP COLUMN month")
    await world.append(an_hour(key_id, month, requests=9))
    await world.rows("UPDATE billing.hour SET revision = 7, requests = 7, named_revision = 5")
    differences = await world.differences()
    assert not any(key_id in difference and "ledger" in difference for difference in differences)
    await world.rows("TRUNCATE billing.hour")
    await world.rows("INSERT INTO billing.hour TABLE kept")
