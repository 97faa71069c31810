"""A bill waits for what is not projected yet, and for the broker's clock, whatever the host's own says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from events.codec import encode
from events.kafka_log import KafkaEventLog
from events.keys import KeyCreated
from events.totals import Statement, StatementClosed
from events.usage import Usage
from services.billing.months import due_at, end_of, last_due, month_of
from services.billing.reading import read_statement
from tests.acceptance.eventually import eventually
from tests.acceptance.host_clocks import HostClocks
from tests.acceptance.stack import Stack
from tests.acceptance.the_log import records, run
from tests.acceptance.usage_load import Use, emit
from tests.builders import a_key_created

CAUGHT_UP_SECONDS = 60.0
#: Many looks of billing, which would close a month at the first one.
A_WHILE_SECONDS = 5.0


@pytest.fixture
def clocks(tmp_path: Path) -> HostClocks:
    return HostClocks(tmp_path)


def test_a_month_is_not_closed_while_the_projector_has_not_got_to_its_use(stack: Stack) -> None:
    """190 predictions are projected when the projector is stopped, 5,000 more are accepted since."""
    month = last_due(datetime.now(UTC))
    created = _create(stack)
    projector = stack.projector()
    _use(stack, created, end_of(month) - timedelta(hours=1), 190)
    eventually(lambda: records(stack, stack.topics.hourly_usage), CAUGHT_UP_SECONDS, "the first use")
    projector.pause()
    _use(stack, created, end_of(month) - timedelta(hours=1), 5000)
    billing = stack.billing(BILLING_CLOSING_INTERVAL_SECONDS="0.2")
    billing.says("closing waits until what was used before")
    time.sleep(A_WHILE_SECONDS)
    assert _statements(stack) == []
    projector.resume()
    (statement,) = eventually(lambda: _statements(stack), CAUGHT_UP_SECONDS, "the statement")
    assert (statement.month, statement.total) == (f"{month:%Y-%m}", Decimal("5.19"))
    until = billing.metric("billing_complete_until_timestamp_seconds")
    (last_use,) = (
        record for record in records(stack, stack.topics.usage) if b"5000" in (record.value or b"")
    )
    assert until * 1000 >= last_use.timestamp


def test_a_host_whose_clock_is_ahead_closes_no_running_month(stack: Stack, clocks: HostClocks) -> None:
    now = datetime.now(UTC)
    created = _create(stack)
    stack.projector()
    running = month_of(now)
    _use(stack, created, now, 190)
    clocks.step(int((due_at(running) - now).total_seconds()) + 3600)
    billing = stack.billing(wait=True, BILLING_CLOSING_INTERVAL_SECONDS="0.2", **clocks.environment)
    eventually(lambda: _predictions(stack) == 190, CAUGHT_UP_SECONDS, "the use to be projected")
    billing.says("this host's clock is ahead")
    assert _statements(stack) == []
    assert billing.metric("billing_statements_due") == 1


def _create(stack: Stack) -> KeyCreated:
    """A key that pays for every prediction."""
    created = a_key_created(monthly_prediction_limit=0)

    async def append() -> None:
        async with KafkaEventLog(stack.kafka) as log:
            await log.append(stack.topics.lifecycle.name, created.partitionkey.encode(), encode(created))

    run(append())
    return created


def _use(stack: Stack, created: KeyCreated, at: datetime, predictions: int) -> None:
    usage = Usage(
        key_id=created.data.key_id,
        service_id="platform",
        endpoint="/predict",
        status_code=200,
        response_time_ms=1,
        predictions_count=predictions,
        compute_ms=1,
    )
    run(emit(stack.kafka, stack.topics, [Use(f"use of {predictions}", at, usage)]))


def _predictions(stack: Stack) -> int:
    """What the projector has counted."""
    with psycopg.connect(stack.database_url) as connection:
        query = "SELECT coalesce(sum(predictions), 0)::bigint FROM projector.usage_hours"
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _statements(stack: Stack) -> Sequence[Statement]:
    events = [read_statement(record) for record in records(stack, stack.topics.statements)]
    return [event.data for event in events if isinstance(event, StatementClosed)]
