"""All schemas can be dropped: what was counted and billed comes back from the log, and is not said again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events.log import Record
from events.settings import KafkaSettings
from events.topics import Topics
from events.totals import hour_text
from services.billing.months import due_at, end_of, following, last_due, month_text
from tests.builders import a_key_created, a_key_rotated, some_usage
from tests.fakes import ManualTime
from tests.integration.billing.world import World as BillingWorld
from tests.integration.projector.world import World as ProjectorWorld
from tests.integration.projector.world import eventually

pytestmark = pytest.mark.anyio

#: What is kept for hours, how far each process has read and in which log, and who was counted: that is
#: forgotten in time.
NOT_COMPARED = (
    "rate_window",
    "key_activity",
    "projection_offset",
    "fill_goal",
    "log_mark",
    "log_refusal",
    "log_loss",
    "usage_progress",
    "watermark",
    "usage_identity",
)
#: Where nothing waits.
EMPTY = {
    "projector.usage_unpublished",
    "projector.usage_refused",
    "billing.outgoing",
    "billing.statement_part",
}

Rows = dict[str, set[str]]


class World:
    """A projector process, and billing at a time of the test's choosing, on one log and one database."""

    def __init__(self, kafka: KafkaSettings, topics: Topics, database_url: str, folder: Path) -> None:
        self.topics = topics
        self.projecting = ProjectorWorld(kafka, topics, database_url, folder)
        self.accounting = BillingWorld(kafka, topics, database_url, folder)
        self.uses = 0

    async def use(self, hour: datetime, *key_ids: str) -> None:
        """One use in that hour with each of the keys, counted and told."""
        await self.projecting.append_usage(some_usage(key_id=key_id, time=hour) for key_id in key_ids)
        self.uses += len(key_ids)
        await self.projecting.uses_settled(self.uses)

    async def rows(self) -> Rows:
        """Every row that follows from the log, as text, by table."""
        tables = await self.accounting.rows(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('projector', 'billing')"
        )
        return {
            f"{schema}.{table}": {
                row for (row,) in await self.accounting.rows(f"SELECT t::text FROM {schema}.{table} t")
            }
            for schema, table in tables
            if not table.startswith(NOT_COMPARED)
        }

    async def told(self) -> dict[tuple[int, int], Record]:
        """Every record of usage.hourly, by partition and offset."""
        records = await self.projecting.read(self.topics.hourly_usage)
        return {(record.partition, record.offset): record for record in records}


async def test_every_schema_dropped_all_is_as_it_was_and_late_use_reaches_the_next_statement(
    kafka_settings: KafkaSettings, topics: Topics, database_url: str, tmp_path: Path
) -> None:
    """Late use before the schemas were dropped, of which no statement tells yet, and after they came back."""
    world = World(kafka_settings, topics, database_url, tmp_path)
    try:
        await _drop_every_schema(world)
    finally:
        world.projecting.kill_all()


async def _drop_every_schema(world: World) -> None:
    projecting, accounting = world.projecting, world.accounting
    # The last hour of a month that is due by now, and not too old to count either.
    month = last_due(datetime.now(UTC))
    last_hour, next_hour = end_of(month) - timedelta(hours=1), end_of(month)
    old, other = (a_key_created(monthly_prediction_limit=2) for _ in range(2))
    new = a_key_rotated(old)
    old_id, new_id, other_id = old.data.key_id, new.data.new_key.key_id, other.data.key_id
    await projecting.append([old, new, other])
    projector = projecting.projector()
    await world.use(last_hour, old_id, old_id, new_id, other_id)
    await world.use(next_hour, new_id)
    time = ManualTime(due_at(month))
    lineages = (old.subject, other.subject)
    closed = [(lineage_id, month) for lineage_id in lineages]
    async with accounting.billing(time):
        await accounting.statements_are(*closed)
        await world.use(last_hour, old_id)
        await accounting.caught_up()
    projector.stop()
    rows, told, sent = await world.rows(), await world.told(), await accounting.sent()
    assert {table for table, found in rows.items() if not found} == EMPTY
    assert len(sent) == len(closed)

    for schema in ("projector", "billing"):
        await accounting.rows(f"DROP SCHEMA {schema} CASCADE")
    projecting.projector()
    async with accounting.billing(time):
        await projecting.uses_settled(world.uses)

        async def are_rebuilt() -> bool:
            return await world.rows() == rows

        await eventually(are_rebuilt, "the same rows")
        assert await world.told() == told
        assert await accounting.sent() == sent

        await world.use(last_hour, new_id, other_id)
        await accounting.caught_up()
        assert await _ledger(world, last_hour) == {old_id: 3, new_id: 2, other_id: 2}
        time.pass_by((due_at(following(month)) - due_at(month)).total_seconds())
        statements = await accounting.statements_are(
            *closed, *((lineage_id, following(month)) for lineage_id in lineages)
        )
    again = await accounting.sent()
    assert set(sent) < set(again)
    assert len(again) == len(sent) + len(lineages)
    lines = {
        lineage_id: [
            (line.kind, line.month, line.requests, line.billable_predictions)
            for line in statements[f"{lineage_id}/{month_text(following(month))}"].lines
        ]
        for lineage_id in lineages
    }
    assert lines == {
        old.subject: [
            ("usage", month_text(following(month)), 1, 0),
            ("adjustment", month_text(month), 2, 2),
        ],
        other.subject: [
            ("usage", month_text(following(month)), 0, 0),
            ("adjustment", month_text(month), 1, 0),
        ],
    }
    grown = await world.told()
    assert told.items() <= grown.items()
    late = {f"{key_id}/{hour_text(last_hour)}".encode() for key_id in (new_id, other_id)}
    assert _keys(grown[place] for place in grown.keys() - told.keys()) == late


async def _ledger(world: World, hour: datetime) -> dict[str, int]:
    """The requests of each key in that hour, as billing knows them."""
    query = "SELECT key_id::text, requests FROM billing.hour WHERE hour = %s"
    return dict(await world.accounting.rows(query, hour))


def _keys(records: Iterable[Record]) -> set[bytes | None]:
    return {record.key for record in records}
