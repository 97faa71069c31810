"""Repeated, cut into batches anywhere, read in any order: the sums are those of the distinct uses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from events.dead_letters import DeadLetter
from events.errors import LogUnavailable
from events.keeper.spool import SHARES
from events.keys import KeyCreated
from events.lifecycle import fold
from events.partitions import home_partition
from events.usage import KeyUsed
from events.usage_identity import period_of
from services.projector.rows import Row
from services.projector.usage_identities import drop_past_periods
from services.projector.verification_tables import TABLES
from services.projector.verification_uses import CountedUses
from tests.builders import StoredRecord, a_key_created, lifecycle_record, some_usage
from tests.integration.projector.counting import Counting
from tests.usage_records import usage_record

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PARTITIONS = 12

REQUESTS = "SELECT sum(requests)::int FROM projector.usage_hour"


@pytest.fixture
def counting(database_url: str) -> Counting:
    return Counting(database_url)


async def test_batches_cut_anywhere_and_delivered_again_leave_the_same_rows(counting: Counting) -> None:
    """Identities come back within minutes and after months, with other content; the first counts."""
    chance = random.Random(4)
    keys = [a_key_created() for _ in range(3)]
    records = [_random_record(chance, chance.choice(keys).subject, offset) for offset in range(200)]
    wanted = _counted(keys, records)
    assert 80 < sum(row[4] for row in wanted["usage_hour"]) < 170, "no fair mix of new and repeated"
    rows = []
    for sizes in ((200, 200), (1, 1), (2, 60), (2, 60)):
        await counting.begin_anew(*keys)
        async with counting.connection() as connection:
            await counting.apply_all(connection, _cut(chance, records, *sizes))
        assert await _sums(counting) == wanted
        rows.append(await counting.rows())
    assert rows[0] == rows[1] == rows[2] == rows[3]


async def test_partitions_read_in_any_order_leave_the_same_rows(counting: Counting) -> None:
    """Emitters with another partitioner put the same identities elsewhere, some with another content."""
    chance = random.Random(7)
    keys = [a_key_created() for _ in range(3)]
    homes = sorted({home_partition(key.subject, PARTITIONS) for key in keys})
    partitions = [*homes, *(p for p in range(PARTITIONS) if p not in homes)][:4]
    records = {
        partition: [
            _random_record(chance, chance.choice(keys).subject, offset, partition) for offset in range(70)
        ]
        for partition in partitions
    }
    wanted = _counted(keys, [record for part in records.values() for record in part])
    assert any(row[3] > row[4] for row in wanted["usage_hour"]), "none was passed over"
    letters = []
    for _ in range(6):
        await counting.begin_anew(*keys)
        letters.append({letter.reason for letter in await _apply_mixed(counting, chance, records)})
        assert await _sums(counting) == wanted
    assert letters == [{"conflicting duplicate"}] * 6


async def test_partitions_read_at_once_by_several_leave_the_same_rows(counting: Counting) -> None:
    chance = random.Random(8)
    keys = [a_key_created() for _ in range(3)]
    records = {
        partition: [
            _random_record(chance, chance.choice(keys).subject, offset, partition) for offset in range(150)
        ]
        for partition in range(4)
    }
    await counting.begin_anew(*keys)

    async def read(part: Sequence[StoredRecord]) -> None:
        async with counting.connection() as connection:
            await counting.apply_all(connection, _cut(chance, part, 1, 9))

    await asyncio.gather(*map(read, records.values()))
    assert await _sums(counting) == _counted(keys, [record for part in records.values() for record in part])


@pytest.mark.parametrize("days", [2, 20, 35])
@pytest.mark.parametrize("in_one_batch", [True, False], ids=["in one batch", "in two"])
async def test_a_report_again_within_35_days_counts_once_whatever_time_it_states(
    counting: Counting, days: int, *, in_one_batch: bool
) -> None:
    key = a_key_created()
    one, other = (
        usage_record(some_usage(key_id=key.subject, id="order 7", time=time))
        for time in (NOON, NOON + days * DAY)
    )
    for first, again in ((one, other), (other, one)):
        batches = [[first, again]] if in_one_batch else [[first], [again]]
        await counting.begin_anew(key)
        letters = [letter for batch in batches for letter in await counting.apply(batch)]
        assert (await counting.value(REQUESTS), letters) == (1, [])


async def test_a_record_that_is_sent_again_is_recognised_or_too_old_whatever_the_clocks(
    counting: Counting,
) -> None:
    """Between the two there is no time at which it would count again."""
    key = a_key_created()
    event = some_usage(key_id=key.subject, time=NOON)
    # Every few days, and close to where it gets too old.
    later_hours = [*range(0, 34 * 24, 79), *range(34 * 24, 37 * 24, 5)]
    for begun in (NOON - HOUR, NOON + 17 * DAY):
        for hours in later_hours:
            await counting.begin_anew(key)
            for offset, appended_at in enumerate((begun, begun + hours * HOUR)):
                await counting.apply([usage_record(event, appended_at, offset=offset)])
            assert await counting.value(REQUESTS) == 1, (begun, hours)


async def test_an_id_that_is_used_anew_after_the_horizon_is_another_use(counting: Counting) -> None:
    """Whether or not what is past was forgotten by then."""
    key = a_key_created()
    for forgets in (False, True):
        await counting.begin_anew(key)
        await counting.apply([usage_record(some_usage(key_id=key.subject, id="order 7", time=NOON))])
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + 70 * DAY), offset=1)])
        async with counting.connection() as connection:
            if forgets:
                assert len(await drop_past_periods(connection, "keys.usage", _unread(0))) == 1
        later = some_usage(key_id=key.subject, id="order 7", time=NOON + 71 * DAY)
        await counting.apply([usage_record(later, offset=2)])
        assert await counting.value(REQUESTS) == 3


async def test_another_content_under_the_same_id_is_a_conflict_wherever_it_is_met(
    counting: Counting,
) -> None:
    """In one batch, in two, in two partitions in either order: one counts, always the same."""
    key = a_key_created()
    home = home_partition(key.subject, PARTITIONS)
    right, wrong = (
        some_usage(key_id=key.subject, id="order 7", time=NOON, predictions_count=count) for count in (3, 5)
    )
    first, second = (
        usage_record(event, partition=home, offset=at) for at, event in enumerate((right, wrong))
    )
    elsewhere = usage_record(wrong, partition=(home + 1) % PARTITIONS, offset=9)
    for batches, loser in (
        ([[first, second]], second),
        ([[first], [second]], second),
        ([[first], [elsewhere]], elsewhere),
        ([[elsewhere], [first]], elsewhere),
    ):
        await counting.begin_anew(key)
        (letter,) = [letter for batch in batches for letter in await counting.apply(batch)]
        assert letter.reason == "conflicting duplicate"
        assert (letter.record.partition, letter.record.offset) == (loser.partition, loser.offset)
        assert letter.record.timestamp == loser.timestamp
        assert letter.record.key == loser.key
        assert letter.error.startswith(f"conflicting duplicate: keys.usage/{home}@0")
        assert await counting.value("SELECT sum(predictions)::int FROM projector.usage_days") == 3
        assert await counting.value("SELECT sum(predictions)::int FROM projector.usage_months") == 3


async def test_a_use_that_is_withdrawn_from_an_hour_leaves_a_higher_revision_of_nothing(
    counting: Counting,
) -> None:
    """Whoever was told of it is told again; the month and the day have no row of nothing."""
    key = a_key_created()
    home = home_partition(key.subject, PARTITIONS)
    await counting.begin_anew(key)
    for time, partition in ((NOON, (home + 1) % PARTITIONS), (NOON + 30 * DAY, home)):
        event = some_usage(key_id=key.subject, id="order 7", time=time)
        assert await counting.apply([usage_record(event, partition=partition)]) == []
    hours = "SELECT array_agg((revision, requests, errors)::text ORDER BY hour) FROM projector.usage_hour"
    assert await counting.value(hours) == ["(2,0,0)", "(1,1,0)"]
    told = "SELECT array_agg(revision ORDER BY hour) FROM projector.usage_unpublished"
    assert await counting.value(told) == [2, 1]
    assert await counting.value("SELECT array_agg(requests) FROM projector.usage_endpoint_month") == [1]
    assert await counting.value("SELECT array_agg(requests) FROM projector.usage_service_day") == [1]


async def test_the_same_id_on_two_keys_counts_twice(counting: Counting) -> None:
    keys = [a_key_created(), a_key_created()]
    await counting.begin_anew(*keys)
    await counting.apply(
        usage_record(some_usage(key_id=key.subject, id="order 7", time=NOON)) for key in keys
    )
    assert await counting.value(REQUESTS) == 2


async def test_two_that_apply_the_same_uses_at_once_count_them_once(counting: Counting) -> None:
    """As when a producer puts the same uses into two partitions; both make the period's table, too."""
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
    assert await counting.value("SELECT sum(revision)::int FROM projector.usage_unpublished") == 6000


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


async def test_hours_days_and_months_are_those_of_utc_whatever_the_zone_of_the_session(
    counting: Counting,
) -> None:
    key = a_key_created()
    await counting.begin_anew(key)
    time = datetime(2026, 3, 1, 2, 15, tzinfo=timezone(timedelta(hours=2, minutes=30)))
    async with counting.connection() as connection, connection.transaction():
        await connection.execute("SET timezone = 'America/St_Johns'")
        await counting.apply_within(connection, [usage_record(some_usage(key_id=key.subject, time=time))])
    assert await counting.value("SELECT hour FROM projector.usage_hour") == datetime(
        2026, 2, 28, 23, tzinfo=UTC
    )
    assert await counting.value("SELECT month FROM projector.usage_endpoint_month") == date(2026, 2, 1)
    assert await counting.value("SELECT day FROM projector.usage_service_day") == date(2026, 2, 28)


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


async def test_periods_are_forgotten_by_the_time_of_the_log_alone(counting: Counting) -> None:
    """Whatever a clock says: the slowest partition decides, and one that has not begun holds all."""
    key = a_key_created()
    old = some_usage(key_id=key.subject, id="order 7", time=NOON)
    await counting.begin_anew(key)
    await counting.apply([usage_record(old)])
    await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + 60 * DAY), partition=1)])
    async with counting.connection() as connection:
        assert await drop_past_periods(connection, "keys.usage", _unread(0, 1)) == []
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + 61 * DAY), offset=1)])
        assert await drop_past_periods(connection, "keys.usage", _unread(0, 1, 2)) == []
        assert await drop_past_periods(connection, "keys.usage", _unread(0, 1)) == [_period(NOON)]
    (letter,) = await counting.apply([usage_record(old, NOON + 61 * DAY, offset=2)])
    assert letter.reason == "too old"
    assert await counting.value(REQUESTS) == 3


async def test_a_partition_without_use_holds_no_period(counting: Counting) -> None:
    """What comes there is appended after all that is counted by now."""
    key = a_key_created()
    await counting.begin_anew(key)
    for day in (0, 60):
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + day * DAY))])

    async def nothing_unread() -> Mapping[int, int]:
        return {0: 0, 1: 0}

    async with counting.connection() as connection:
        assert await drop_past_periods(connection, "keys.usage", nothing_unread) == [_period(NOON)]


async def test_a_period_is_forgotten_beside_batches_that_never_pause(counting: Counting) -> None:
    """Before one of them has ended the next has begun: whoever needs a moment without any waits for ever."""
    key = a_key_created()
    await counting.begin_anew(key)
    for day in (0, 60):
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + day * DAY))])
    async with counting.connection() as counter, counting.connection() as dropper, counter.transaction():
        event = some_usage(key_id=key.subject, time=NOON + 61 * DAY)
        await counting.apply_within(counter, [usage_record(event, offset=1)])
        assert await drop_past_periods(dropper, "keys.usage", _unread(0)) == [_period(NOON)]


async def test_a_period_that_somebody_reads_is_forgotten_later_and_holds_up_nobody(
    counting: Counting,
) -> None:
    key = a_key_created()
    await counting.begin_anew(key)
    for day in (0, 60):
        await counting.apply([usage_record(some_usage(key_id=key.subject, time=NOON + day * DAY))])
    async with counting.connection() as reader, counting.connection() as dropper:
        async with reader.transaction():
            await reader.execute("SELECT FROM projector.usage_identities")
            with pytest.raises(Exception, match="lock timeout"):
                await drop_past_periods(dropper, "keys.usage", _unread(0))
        assert len(await drop_past_periods(dropper, "keys.usage", _unread(0))) == 1


def _unread(*partitions: int) -> Callable[[], Awaitable[Mapping[int, int]]]:
    """Each of these partitions has more than was applied."""

    async def ends() -> Mapping[int, int]:
        return dict.fromkeys(partitions, 1_000_000)

    return ends


def _period(time: datetime) -> int:
    return period_of(int(time.timestamp() * 1000))


def _random_record(chance: random.Random, key_id: str, offset: int, partition: int = 0) -> StoredRecord:
    """Appended within 120 days, in the order of offsets."""
    appended_at = NOON + (offset * 120 * DAY) / 200
    event = some_usage(
        key_id=key_id,
        id=f"order {chance.randrange(25)}",
        time=appended_at - chance.randrange(3) * DAY - chance.randrange(24) * HOUR,
        endpoint=chance.choice(["/predict", "/train"]),
        service_id=chance.choice(["platform", "prediction"]),
        status_code=chance.choice([200, 404, 500]),
        response_time_ms=chance.random() * 100,
        predictions_count=chance.randrange(5),
    )
    return usage_record(event, appended_at, offset=offset, partition=partition)


async def _apply_mixed(
    counting: Counting, chance: random.Random, records: Mapping[int, Sequence[StoredRecord]]
) -> Sequence[DeadLetter]:
    """Each partition in its order, cut into batches; a batch of any of them next."""
    waiting = [list(_cut(chance, part, 1, 30)) for part in records.values()]
    letters: list[DeadLetter] = []
    while waiting := [batches for batches in waiting if batches]:
        letters += await counting.apply(chance.choice(waiting).pop(0))
    return letters


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


def _counted(keys: Sequence[KeyCreated], records: Sequence[StoredRecord]) -> dict[str, set[Row]]:
    """What the auditor makes of the records."""
    lineages = [fold(lifecycle_record(key), lambda _: None).lineage for key in keys]
    with CountedUses((lineage for lineage in lineages if lineage is not None), PARTITIONS) as counted:
        for record in records:
            counted.add(record)
        counted.count()
        tables = {
            "usage_hour": counted.hours,
            "usage_endpoint_month": counted.months,
            "usage_service_day": counted.days,
            "usage_last": counted.last,
        }
        return {
            name: {row for number in range(SHARES) for row in rows.share(number).values()}
            for name, rows in tables.items()
        }


async def _sums(counting: Counting) -> dict[str, set[Row]]:
    """What the projection has made of the records, as the auditor reads it."""
    async with counting.connection() as connection:
        return {
            table: set(await (await connection.execute(TABLES[query].statement.encode())).fetchall())
            for table, query in (
                ("usage_hour", "all_hours"),
                ("usage_endpoint_month", "all_months"),
                ("usage_service_day", "all_days"),
                ("usage_last", "all_last_uses"),
            )
        }
