"""A use becomes rows, an hourly total and a line of the ledger, once, whatever dies on the way."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
import pytest

from events.codec import decode, decode_total, encode
from events.kafka_log import KafkaEventLog
from events.totals import HourlyUsage
from events.usage import KeyUsed, Usage
from services.billing.verification import verify as verify_billing
from services.local.kafka import EmbeddedKafka
from services.projector.verification import verify as verify_projector
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import Keeper, Stack
from tests.acceptance.the_log import records, run
from tests.acceptance.usage_load import Use, emit, post
from tests.builders import a_key_created

KEYS = 500
EVENTS = 100_000
DUPLICATES = EVENTS // 10
HOURS = 3
CAUGHT_UP_SECONDS = 60.0

pytestmark = pytest.mark.timeout(480)


class Sums(NamedTuple):
    """Of one key and hour."""

    requests: int = 0
    errors: int = 0
    predictions: int = 0
    compute_us: int = 0
    response_time_us: int = 0

    def plus(self, usage: Usage) -> Sums:
        return Sums(
            self.requests + 1,
            self.errors + (usage.status_code >= 400),
            self.predictions + usage.predictions_count,
            self.compute_us + round(usage.compute_ms * 1000),
            self.response_time_us + round(usage.response_time_ms * 1000),
        )


Totals = Mapping[tuple[str, datetime], Sums]


def test_every_use_counts_once_whatever_dies(fragile: Stack, shaken_kafka: EmbeddedKafka) -> None:
    """100,000 uses, a tenth of them again, shuffled, half of them over HTTP.

    Meanwhile projector and billing are killed five times and the broker is restarted once.
    """
    key_ids = _create_keys(fragile)
    uses = _uses(key_ids)
    # A line for each of 50,000 requests would be most of the work.
    projector, billing, node = fragile.projector(), fragile.billing(), fragile.api(LOG_LEVEL="WARNING")
    sending = _Sending(fragile, node.url, uses)
    sending.start()
    for victim in (projector, billing, projector):
        _kill_once_it_has_worked(fragile, victim)
    shaken_kafka.stop()
    shaken_kafka.start()
    shaken_kafka.wait_ready()
    for victim in (billing, projector):
        _kill_once_it_has_worked(fragile, victim)
    sending.finish()

    truth, ids = _distinct_uses(fragile)
    assert ids == {(use.usage.key_id, use.event_id) for use in uses}
    assert sum(sums.requests for sums in truth.values()) == EVENTS - DUPLICATES
    eventually(lambda: _rolled_up(fragile) == truth, CAUGHT_UP_SECONDS, "the roll-ups to be exact")
    eventually(lambda: _announced(fragile) == truth, CAUGHT_UP_SECONDS, "usage.hourly to be exact")
    eventually(lambda: _in_the_ledger(fragile) == truth, CAUGHT_UP_SECONDS, "the ledger to be exact")
    for verify in (verify_projector, verify_billing):
        assert run(verify(fragile.kafka, fragile.topics, fragile.database_url)).problems == []


class _Sending(threading.Thread):
    """Half of the uses over HTTP, half straight to Kafka, beside the test."""

    def __init__(self, stack: Stack, url: str, uses: Sequence[Use]) -> None:
        super().__init__(daemon=True)
        self._stack, self._url, self._uses = stack, url, uses
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        """Wait until every one was acknowledged."""
        self.join(timeout=240)
        assert not self.is_alive(), "the load was not taken in time"
        if self._error is not None:
            raise self._error

    async def _send(self) -> None:
        half = len(self._uses) // 2
        async with asyncio.TaskGroup() as both:
            both.create_task(post(self._url, self._uses[:half]))
            both.create_task(emit(self._stack.kafka, self._stack.topics, self._uses[half:]))


def _create_keys(stack: Stack) -> list[str]:
    events = [a_key_created() for _ in range(KEYS)]

    async def append() -> None:
        async with KafkaEventLog(stack.kafka) as log:
            await asyncio.gather(
                *(
                    log.append(stack.topics.lifecycle.name, event.partitionkey.encode(), encode(event))
                    for event in events
                )
            )

    run(append())
    return [event.data.key_id for event in events]


def _uses(key_ids: Sequence[str]) -> list[Use]:
    """Some of them twice, in any order, over the last hours."""
    chance = random.Random(4)
    now = datetime.now(UTC)
    distinct = [
        Use(
            event_id=f"use-{number}",
            time=now - timedelta(hours=chance.uniform(0, HOURS)),
            usage=Usage(
                key_id=chance.choice(key_ids),
                service_id=chance.choice(["platform", "prediction"]),
                endpoint=f"/api/v1/models/{chance.randrange(5)}/predict",
                status_code=chance.choice([200, 200, 200, 429, 500]),
                response_time_ms=chance.randrange(1, 5_000_000) / 1000,
                predictions_count=chance.randrange(4),
                compute_ms=chance.randrange(9),
            ),
        )
        for number in range(EVENTS - DUPLICATES)
    ]
    uses = distinct + chance.sample(distinct, DUPLICATES)
    chance.shuffle(uses)
    return uses


def _kill_once_it_has_worked(stack: Stack, victim: Keeper) -> None:
    """`kill -9` while it works: once its rows have grown since now. Then it is started again."""
    before = _applied(stack, victim)
    eventually(lambda: _applied(stack, victim) > before, CAUGHT_UP_SECONDS, f"{victim.name} at work")
    victim.kill()
    victim.start()


def _applied(stack: Stack, keeper: Keeper) -> int:
    schema = keeper.name.split("-")[0]
    with psycopg.connect(stack.database_url) as connection:
        query = f"SELECT coalesce(sum(next_offset), 0)::bigint FROM {schema}.projection_offset"
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def _distinct_uses(stack: Stack) -> tuple[Totals, set[tuple[str, str]]]:
    """What the topic holds, each use once: the first record of each identity."""
    totals: dict[tuple[str, datetime], Sums] = defaultdict(Sums)
    seen: Counter[tuple[str, str]] = Counter()
    for record in records(stack, stack.topics.usage):
        event = decode(record.value)
        assert isinstance(event, KeyUsed)
        identity = (event.data.key_id, event.id)
        seen[identity] += 1
        if seen[identity] == 1:
            place = (event.data.key_id, event.time.replace(minute=0, second=0, microsecond=0))
            totals[place] = totals[place].plus(event.data)
    return totals, set(seen)


def _rolled_up(stack: Stack) -> Totals:
    return _totals_in(stack, "projector.usage_hours")


def _in_the_ledger(stack: Stack) -> Totals:
    return _totals_in(stack, "billing.hour")


def _totals_in(stack: Stack, table: str) -> Totals:
    query = (
        "SELECT key_id::text, hour AT TIME ZONE 'UTC', requests, errors, predictions, compute_us, "
        f"response_time_us FROM {table}"
    )
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute(query.encode()).fetchall()
    return {(key_id, hour.replace(tzinfo=UTC)): Sums(*sums) for key_id, hour, *sums in rows}


def _announced(stack: Stack) -> Totals:
    """The highest revision of each key and hour."""
    highest: dict[tuple[str, datetime], tuple[int, Sums]] = {}
    for record in records(stack, stack.topics.hourly_usage):
        event = decode_total(record.value)
        assert isinstance(event, HourlyUsage)
        totals = event.data
        sums = Sums(
            totals.requests, totals.errors, totals.predictions, totals.compute_us, totals.response_time_us
        )
        place = (totals.key_id, totals.hour)
        highest[place] = max(highest.get(place, (0, sums)), (totals.revision, sums))
    return {place: sums for place, (_, sums) in highest.items()}
