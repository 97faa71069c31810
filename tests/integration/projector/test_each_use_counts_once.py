"""Repeated, cut into batches anywhere, applied by two at once: the sums are those of the distinct events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from events.errors import LogUnavailable
from events.keys import KeyCreated
from events.lifecycle import fold
from events.usage import KeyUsed
from services.projector.usage_days import drop_past_days
from services.projector.verification_usage import CountedUses
from tests.builders import StoredRecord, a_key_created, lifecycle_record, some_usage
from tests.integration.projector.counting import Counting
from tests.usage_records import usage_record

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 11, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

REQUESTS = "SELECT sum(requests)::int FROM projector.usage_hour"


@pytest.fixture
def counting(database_url: str) -> Counting:
    return Counting(database_url)


async def test_batches_cut_anywhere_and_delivered_again_leave_the_same_rows(counting: Counting) -> None:
    """Identities come back within minutes and after days, with other content; the first counts."""
    chance = random.Random(4)
    keys = [a_key_created() for _ in range(3)]
    records = [_random_record(chance, chance.choice(keys).subject, offset) for offset in range(200)]
    wanted = _counted(keys, records)
    assert 80 < sum(sums[1] for sums in wanted.hours.values()) < 170, "no fair mix of new and repeated"
    rows = []
    for sizes in ((200, 200), (1, 1), (2, 60), (2, 60)):
        await counting.begin_anew(*keys)
        async with counting.connection() as connection:
            await counting.apply_all(connection, _cut(chance, records, *sizes))
        rows.append(await counting.rows())
    assert rows[0] == rows[1] == rows[2] == rows[3]
    assert await counting.value(REQUESTS) == sum(sums[1] for sums in wanted.hours.values())
    assert len(rows[0]["usage_hour"]) == len(wanted.hours)
    assert len(rows[0]["usage_endpoint_month"]) == len(wanted.months)


@pytest.mark.parametrize("in_one_batch", [True, False], ids=["in one batch", "in two"])
async def test_a_retry_after_midnight_counts_once(counting: Counting, *, in_one_batch: bool) -> None:
    key = a_key_created()
    before, after = (
        usage_record(some_usage(key_id=key.subject, id="order 7", time=time), MIDNIGHT + HOUR)
        for time in (MIDNIGHT - MINUTE, MIDNIGHT + MINUTE)
    )
    for first, second in ((before, after), (after, before)):
        await counting.begin_anew(key)
        for batch in [[first, second]] if in_one_batch else [[first], [second]]:
            await counting.apply(batch)
        assert await counting.value(REQUESTS) == 1


async def test_the_same_id_on_two_keys_counts_twice(counting: Counting) -> None:
    keys = [a_key_created(), a_key_created()]
    await counting.begin_anew(*keys)
    await counting.apply(
        usage_record(some_usage(key_id=key.subject, id="order 7", time=NOON)) for key in keys
    )
    assert await counting.value(REQUESTS) == 2


async def test_two_that_apply_the_same_uses_at_once_count_them_once(counting: Counting) -> None:
    """As when a producer puts the same uses into two partitions; both make the day's partition, too."""
    keys = [a_key_created() for _ in range(5)]
    await counting.begin_anew(*keys)
    events = [some_usage(key_id=random.choice(keys).subject, time=NOON) for _ in range(2000)]
    batches = [
        [[usage_record(event, partition=partition) for event in some] for some in _shuffled(events)]
        for partition in (0, 1)
    ]
    async with counting.connection() as one, counting.connection() as other:
        await asyncio.gather(counting.apply_all(one, batches[0]), counting.apply_all(other, batches[1]))
    assert await counting.value(REQUESTS) == 2000
    assert await counting.value("SELECT sum(requests)::int FROM projector.usage_days") == 2000
    assert await counting.value("SELECT sum(revision)::int FROM projector.usage_unpublished") == 2000


async def test_a_late_use_counts_in_the_hour_in_which_it_happened(counting: Counting) -> None:
    key = a_key_created()
    await counting.begin_anew(key)
    late = some_usage(key_id=key.subject, time=NOON, status_code=503, compute_ms=1.0005)
    await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + 30 * DAY))])
    await counting.apply([usage_record(late, NOON + 34 * DAY)])
    hour = "SELECT (requests, errors, compute_us)::text FROM projector.usage_hours WHERE hour = %s"
    assert await counting.value(hour, NOON) == "(1,1,1000)"
    used = "SELECT last_used_at FROM projector.keys"
    assert await counting.value(used) == NOON + 30 * DAY, "a late use is not the last one"


async def test_a_use_waits_while_keys_are_behind_and_is_unknown_when_they_are_not(
    counting: Counting,
) -> None:
    key, stranger = a_key_created(), some_usage(time=NOON)
    records = [usage_record(some_usage(key_id=key.subject, time=NOON)), usage_record(stranger, offset=1)]
    await counting.begin_anew()
    counting.lifecycle_ends = {3: 8}
    with pytest.raises(LogUnavailable, match="keys are not there yet"):
        await counting.apply(records)
    waiting = asyncio.create_task(counting.apply(records))
    await counting.create(key)
    async with counting.connection() as connection:
        await connection.execute(
            "INSERT INTO projector.projection_offset VALUES ('keys', 'keys.lifecycle', 3, 8, 1)"
        )
    (letter,) = await waiting
    assert (letter.reason, letter.record.offset) == ("unknown key", 1)
    assert stranger.data.key_id in letter.error
    assert await counting.value(REQUESTS) == 1


async def test_a_key_that_is_created_while_its_use_is_looked_at_is_not_unknown(counting: Counting) -> None:
    key = a_key_created()
    await counting.begin_anew()
    counting.created_meanwhile = key
    assert await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON))]) == []
    assert await counting.value(REQUESTS) == 1


async def test_days_are_forgotten_by_the_time_of_the_log_alone(counting: Counting) -> None:
    """Whatever a clock says: the slowest partition decides, and one that has not begun holds all."""
    key = a_key_created()
    old = some_usage(key_id=key.subject, id="order 7", time=NOON)
    await counting.begin_anew(key)
    await counting.apply([usage_record(old)])
    await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + 40 * DAY), partition=1)])
    async with counting.connection() as connection:
        assert await drop_past_days(connection, "keys.usage", _unread(0, 1)) == []
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + 37 * DAY))])
        assert await drop_past_days(connection, "keys.usage", _unread(0, 1, 2)) == []
        assert await drop_past_days(connection, "keys.usage", _unread(0, 1)) == [NOON.date()]
    (letter,) = await counting.apply([usage_record(old, NOON + 40 * DAY)])
    assert letter.reason == "too old"
    assert await counting.value(REQUESTS) == 3


async def test_a_partition_without_use_holds_no_day(counting: Counting) -> None:
    """What comes there is appended after all that is counted by now."""
    key = a_key_created()
    await counting.begin_anew(key)
    for day in (0, 40):
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + day * DAY))])

    async def nothing_unread() -> Mapping[int, int]:
        return {0: 0, 1: 0}

    async with counting.connection() as connection:
        assert await drop_past_days(connection, "keys.usage", nothing_unread) == [NOON.date()]


async def test_a_day_that_is_in_use_is_forgotten_later_and_holds_up_nobody(counting: Counting) -> None:
    key = a_key_created()
    await counting.begin_anew(key)
    for day in (0, 40):
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + day * DAY))])
    async with counting.connection() as counter, counting.connection() as dropper:
        async with counter.transaction():
            await counter.execute("SELECT FROM projector.usage_identity")
            with pytest.raises(Exception, match="lock timeout"):
                await drop_past_days(dropper, "keys.usage", _unread(0))
        assert len(await drop_past_days(dropper, "keys.usage", _unread(0))) == 1


def _unread(*partitions: int) -> Callable[[], Awaitable[Mapping[int, int]]]:
    """Each of these partitions has more than was applied."""

    async def ends() -> Mapping[int, int]:
        return dict.fromkeys(partitions, 1_000_000)

    return ends


def _random_record(chance: random.Random, key_id: str, offset: int) -> StoredRecord:
    happened_at = NOON + chance.randrange(6) * DAY + chance.randrange(24) * HOUR
    event = some_usage(
        key_id=key_id,
        id=f"order {chance.randrange(40)}",
        time=happened_at,
        endpoint=chance.choice(["/predict", "/train"]),
        service_id=chance.choice(["platform", "prediction"]),
        status_code=chance.choice([200, 404, 500]),
        response_time_ms=chance.random() * 100,
        predictions_count=chance.randrange(5),
    )
    return usage_record(event, NOON + 7 * DAY, offset=offset)


def _cut(
    chance: random.Random, records: Sequence[StoredRecord], smallest: int, largest: int
) -> Iterator[Sequence[StoredRecord]]:
    """Batches of random sizes; some come twice."""
    first = 0
    while first < len(records):
        batch = records[first : first + chance.randint(smallest, largest)]
        first += len(batch)
        yield batch
        if chance.random() < 0.2:
            yield batch


def _shuffled(events: Sequence[KeyUsed]) -> list[list[KeyUsed]]:
    """Batches of a hundred, of the same events in an order of their own."""
    mixed = random.sample(events, len(events))
    return [mixed[first : first + 100] for first in range(0, len(mixed), 100)]


def _counted(keys: Sequence[KeyCreated], records: Sequence[StoredRecord]) -> CountedUses:
    lineages = [fold(lifecycle_record(key), lambda _: None).lineage for key in keys]
    counted = CountedUses(lineage for lineage in lineages if lineage is not None)
    for record in records:
        counted.add(record)
    return counted
