"""A month is closed once: to the second, whatever dies, whoever else closes, and late use comes after it."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.billing.months import due_at, following
from tests.billing_builders import FEBRUARY, JANUARY, MARCH, a_statement, an_hour
from tests.builders import a_key_created, fresh_id
from tests.fakes import ManualTime
from tests.integration.billing.killed import STEPS
from tests.integration.billing.world import World, eventually, when_due

pytestmark = pytest.mark.anyio

DECEMBER = JANUARY.replace(year=2025, month=12)


async def test_a_month_is_closed_48_hours_after_its_end_to_the_second(world: World) -> None:
    one, other = (a_key_created(monthly_prediction_limit=5) for _ in range(2))
    january = an_hour(one.subject, JANUARY, requests=12)
    await world.append(one, other, january, an_hour(one.subject, DECEMBER))
    time = ManualTime(datetime(2026, 2, 2, 23, 59, 59, tzinfo=UTC))
    async with world.billing(time):
        await world.statements_are((one.subject, DECEMBER))
        # Closed by a later look at the same time, so there was one that left January alone.
        await world.append(an_hour(other.subject, DECEMBER))
        await world.statements_are((one.subject, DECEMBER), (other.subject, DECEMBER))
        time.pass_by(1)
        found = await world.statements_are(
            (one.subject, DECEMBER), (other.subject, DECEMBER), (one.subject, JANUARY)
        )
    statement = found[f"{one.subject}/2026-01"]
    assert statement.total == Decimal("0.007")
    assert statement.revisions == {one.subject: {"2026-01-01T00": 12}}
    await world.verified()


async def test_use_that_is_told_after_closing_comes_once_as_an_adjustment_of_the_next_statement(
    world: World,
) -> None:
    created = a_key_created(monthly_prediction_limit=10)
    key_id = created.subject
    await world.append(created, an_hour(key_id, JANUARY, requests=8))
    time = when_due(JANUARY)
    async with world.billing(time):
        await world.statements_are((key_id, JANUARY))
        await world.append(an_hour(key_id, JANUARY, requests=13), an_hour(key_id, JANUARY, hour=9))
        await world.caught_up()
        time.pass_by((due_at(FEBRUARY) - due_at(JANUARY)).total_seconds())
        await world.statements_are((key_id, JANUARY), (key_id, FEBRUARY))
        time.pass_by((due_at(MARCH) - due_at(FEBRUARY)).total_seconds())
        await world.append(an_hour(key_id, MARCH, requests=11))
        found = await world.statements_are((key_id, JANUARY), (key_id, FEBRUARY), (key_id, MARCH))
    assert [line.amount for line in found[f"{key_id}/2026-01"].lines] == [0]
    february = found[f"{key_id}/2026-02"]
    assert [(line.kind, line.month, line.requests, line.billable_predictions) for line in february.lines] == [
        ("usage", "2026-02", 0, 0),
        ("adjustment", "2026-01", 6, 4),
    ]
    assert february.total == Decimal("0.004")
    assert february.revisions == {key_id: {"2026-01-01T00": 13, "2026-01-01T09": 1}}
    assert [line.month for line in found[f"{key_id}/2026-03"].lines] == ["2026-03"]
    await world.verified()


async def test_killed_at_every_step_and_restarted_each_month_has_one_statement(world: World) -> None:
    """Each process dies at another step; after each there is one month more, and late use of all before."""
    lineages = [a_key_created(monthly_prediction_limit=2) for _ in range(3)]
    months = [JANUARY]
    while len(months) < len(STEPS):
        months.append(following(months[-1]))
    await world.append(*lineages)
    for number, step in enumerate(STEPS, start=1):
        used = [(one.subject, month) for one in lineages for month in months[:number]]
        await world.append(*(an_hour(lineage_id, month, requests=number) for lineage_id, month in used))
        assert await world.killed_billing(due_at(months[number - 1]), step) == -signal.SIGKILL, step
    async with world.billing(when_due(months[-1])):
        found = await world.statements_are(*((one.subject, month) for one in lineages for month in months))
    for one in lineages:
        own = [statement for statement in found.values() if statement.lineage_id == one.subject]
        assert sum(statement.total for statement in own) == Decimal("0.006") * len(months)
        assert any(line.kind == "adjustment" for statement in own for line in statement.lines)
    assert len(set(await world.sent())) == len(found), "what was sent again was not the same"
    await world.verified()


async def test_two_processes_that_close_at_once_send_one_statement_each(world: World) -> None:
    lineages = [a_key_created() for _ in range(40)]
    await world.append(*lineages)
    await world.append(*(an_hour(one.subject, month) for one in lineages for month in (JANUARY, FEBRUARY)))
    places = [(one.subject, month) for one in lineages for month in (JANUARY, FEBRUARY)]
    async with world.billing(when_due(FEBRUARY)), world.billing(when_due(FEBRUARY)):
        await world.statements_are(*places)
    assert len(await world.sent()) == len(places)


async def test_what_nobody_understands_in_the_topics_is_passed(world: World) -> None:
    created = a_key_created()
    topic = world.topics.statements
    stranger = a_statement(JANUARY, fresh_id())
    await world.append_raw(
        (topic, b"x", b"{"),
        (topic, b"x", None),
        (topic, b"another key", a_statement().model_dump_json().encode()),
        (world.topics.hourly_usage, b"x", b"no totals"),
        (world.topics.hourly_usage, created.subject.encode(), None),
        (world.topics.lifecycle, created.subject.encode(), b"no event"),
    )
    await world.append(created, stranger, an_hour(created.subject, JANUARY), an_hour(fresh_id(), JANUARY))
    async with world.billing(when_due(JANUARY)):
        await world.statements_are((created.subject, JANUARY), (stranger.subject, JANUARY))
        await world.caught_up()
    assert await world.rows("SELECT count(*) FROM billing.statement") == [(2,)]


async def test_the_schema_dropped_comes_back_row_for_row_and_no_month_is_closed_again(world: World) -> None:
    lineages = [a_key_created(monthly_prediction_limit=3) for _ in range(5)]
    await world.append(*lineages, *(an_hour(one.subject, JANUARY, requests=9) for one in lineages))
    places = [(one.subject, JANUARY) for one in lineages]
    async with world.billing(when_due(JANUARY)):
        await world.statements_are(*places)
        await world.append(*(an_hour(one.subject, JANUARY, requests=10) for one in lineages))
        await world.caught_up()
    before, sent = await _rows(world), await world.sent()
    await world.rows("DROP SCHEMA billing CASCADE")
    async with world.billing(when_due(JANUARY)):
        await world.caught_up()

        async def is_rebuilt() -> bool:
            return await _rows(world) == before

        await eventually(is_rebuilt, "the same rows")
    assert await world.sent() == sent
    assert len(before["hour"]) == len(before["statement"]) == 5
    await world.verified()


async def test_the_schema_dropped_between_sending_and_reading_back_closes_no_month_again(
    world: World,
) -> None:
    lineages = [a_key_created() for _ in range(5)]
    await world.append(*lineages, *(an_hour(one.subject, JANUARY) for one in lineages))
    assert await world.killed_billing(due_at(JANUARY), "sent") == -signal.SIGKILL
    await world.rows("DROP SCHEMA billing CASCADE")
    async with world.billing(when_due(JANUARY)):
        await world.statements_are(*((one.subject, JANUARY) for one in lineages))
        await world.caught_up()
    assert len(await world.sent()) == len(lineages)


async def _rows(world: World) -> dict[str, set[str]]:
    tables = ("hour", "account", "statement", "statement_line", "price", "outgoing")
    return {
        table: {row for (row,) in await world.rows(f"SELECT row::text FROM billing.{table} AS row")}
        for table in tables
    }
