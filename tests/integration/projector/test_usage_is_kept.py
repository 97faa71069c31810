"""Uses from topic to topic: killed, doubled, rebuilt, paused, and `usage.hourly` says what happened."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from events.clock import Clock
from events.codec import decode_total, encode
from events.kafka_cluster import partition_ends
from events.kafka_log import KafkaEventLog
from events.keeper.database import new_pool
from events.keeper.process import Opened
from events.keys import KeyCreated
from events.partitions import home_partition
from events.together import run_together, until
from events.topics import PARTITIONS, LogSettings
from events.totals import WindowCount
from events.usage import KeyUsed
from services.projector.hourly import HourlyPublisher
from services.projector.published import PublishedProjection
from services.projector.usage import UsageProjection
from tests.builders import a_key_created, some_usage
from tests.integration.projector.counting import TABLES
from tests.integration.projector.world import World, eventually
from tests.log_records import headers_of, place_of

pytestmark = pytest.mark.anyio

Identity = tuple[str, str]


async def test_killed_and_doubled_projectors_count_each_use_once_and_publish_the_sums(world: World) -> None:
    """The first uses overtake the creation of their keys; nobody reads them until the log has both."""
    keys = [a_key_created() for _ in range(20)]
    identities: set[Identity] = set()
    appended = await _append(world, _uses(keys, 1200), identities)
    await world.append(keys)
    for generation in range(3):
        process = world.projector(PROJECTOR_GROUP=f"generation-{generation}")
        if generation > 0:
            appended += await _append(world, _uses(keys, 1200), identities)
        moment = await world.uses_applied() + random.randint(1, 600)
        await eventually(partial(_has_applied, world, moment), f"{moment} uses applied")
        process.kill()
    one, other = (world.projector(PROJECTOR_GROUP=name) for name in ("one", "other"))
    appended += await _append(world, _uses(keys, 1200), identities)
    await world.uses_settled(appended)
    wanted = Counter(key_id for key_id, _ in identities)
    counted: Counter[str] = Counter()
    for totals in (await world.hourly_totals()).values():
        newest = max(totals, key=lambda total: total.revision)
        counted[newest.key_id] += newest.requests
    assert counted == wanted
    assert await world.read(world.topics.usage_dead_letters) == []
    assert await _reported(world) == wanted, "reported use limits keys too"
    assert one.is_running
    assert other.is_running


async def test_the_schema_dropped_the_sums_come_back_and_are_not_published_again(world: World) -> None:
    keys = [a_key_created() for _ in range(10)]
    await world.append(keys)
    appended = await _append(world, _uses(keys, 800), set())
    first = world.projector()
    await world.uses_settled(appended)
    before, published = await _rows(world), await world.hourly_totals()
    await world.execute("DROP SCHEMA projector CASCADE")
    await world.append([a_key_created()])
    await eventually(lambda: first.exit_code == 1, "it to end")
    world.projector()
    await world.uses_settled(appended)
    assert await _rows(world) == before
    late = some_usage(key_id=keys[0].subject, time=_now() - timedelta(days=20))
    await _append(world, [late, late], set())
    await world.uses_settled(appended + 2)
    grown = await world.hourly_totals()
    (fresh,) = grown.keys() - published.keys()
    assert {key: totals for key, totals in grown.items() if key != fresh} == published
    assert [totals.requests for totals in grown[fresh]] == [1]


async def test_uses_that_emitters_put_into_two_partitions_count_alike_after_a_rebuild(world: World) -> None:
    """With the same content and with another one; the auditor agrees before and after."""
    keys = [a_key_created() for _ in range(12)]
    await world.append(keys)
    uses = _uses(keys, 300)
    changed = [
        use.model_copy(update={"data": use.data.model_copy(update={"predictions_count": 7})}) for use in uses
    ]
    identities: set[Identity] = set()
    first = world.projector()
    # Partitioned by something else, as by another partitioner.
    elsewhere = [
        use for use in (*uses[::2], *changed[1::3]) if _partition(use.id) != _partition(use.data.key_id)
    ]
    await world.append_raw([(use.id.encode(), encode(use)) for use in elsewhere], world.topics.usage)
    appended = len(elsewhere)
    await world.uses_settled(appended)
    appended += await _append(world, uses, identities)
    await world.uses_settled(appended)
    counted, told = await _sums(world), await world.hourly_totals()
    letters = {place_of(letter) for letter in await world.read(world.topics.usage_dead_letters)}
    assert sum(totals[-1].requests for totals in told.values()) == len(identities)
    assert sum(totals[-1].predictions for totals in told.values()) == len(identities)
    assert letters

    await world.execute("DROP SCHEMA projector CASCADE")
    await world.append([a_key_created()])
    await eventually(lambda: first.exit_code == 1, "it to end")
    world.projector()
    await world.uses_settled(appended)
    assert await _sums(world) == counted
    assert await world.hourly_totals() == told
    again = [place_of(letter) for letter in await world.read(world.topics.usage_dead_letters)]
    assert set(again) == letters


async def test_a_publisher_that_was_paused_and_replaced_leaves_the_last_records_right(world: World) -> None:
    keys = [a_key_created() for _ in range(5)]
    await world.append(keys)
    paused = world.projector()
    appended = await _append(world, _uses(keys, 300), set())
    await world.uses_settled(appended)
    stale = await world.read(world.topics.hourly_usage)
    appended += await _append(world, _uses(keys, 300), set())
    paused.pause()
    world.projector()
    appended += await _append(world, _uses(keys, 300), set())
    await world.uses_settled(appended)
    paused.resume()
    # Whatever it had in hand comes now; these come for certain.
    await world.append_raw([(record.key, record.value) for record in stale], world.topics.hourly_usage)
    await eventually(partial(_last_records_are_right, world), "the last records to be right", 15)


async def test_nothing_is_published_before_the_topic_was_read_back(world: World) -> None:
    """After a rebuild it has all of it already: whoever sends first would say everything again."""
    key = a_key_created()
    await world.append([key])
    async with world.runner():
        await world.caught_up(1)
    await world.append_usage([some_usage(key_id=key.subject, time=_now())])
    async with world.runner(_usage_projection(world)):
        await eventually(partial(_has_applied, world, 1), "the use")
    settings = LogSettings.from_environment(world.environment())
    publisher, stopping = HourlyPublisher(settings, Clock(), world.metrics), asyncio.Event()
    async with new_pool(world.database_url, "projector") as pool, KafkaEventLog(world.kafka) as log:
        opened = Opened(pool, log)
        assert await publisher.publish(opened) == 1
        await world.execute("UPDATE projector.usage_unpublished SET taken_until = NULL")
        working = asyncio.create_task(run_together(publisher.work(opened), until(stopping)))
        await asyncio.wait([working], timeout=1)
        assert len(await world.read(world.topics.hourly_usage)) == 1
        async with world.runner(PublishedProjection(world.topics)):
            await world.append_usage([some_usage(key_id=key.subject, time=_now())])
            async with world.runner(_usage_projection(world)):
                await world.uses_settled(2)
        stopping.set()
        await asyncio.wait_for(working, 1)
    assert len(await world.read(world.topics.hourly_usage)) == 2


async def test_rows_that_the_topic_has_already_are_forgotten_without_a_pause(world: World) -> None:
    """After a rebuild they are as many as there were hours: late use behind them must not wait for each."""
    async with world.runner():
        pass
    await world.execute(
        "INSERT INTO projector.usage_published (key_id, hour, revision)"
        " SELECT gen_random_uuid(), '2026-03-01T10:00Z', 1 FROM generate_series(1, 40000)"
    )
    await world.execute(
        "INSERT INTO projector.usage_unpublished SELECT key_id, hour, 1 FROM projector.usage_published"
    )
    settings = LogSettings.from_environment(world.environment())
    publisher, stopping = HourlyPublisher(settings, Clock(), world.metrics), asyncio.Event()
    async with new_pool(world.database_url, "projector") as pool, KafkaEventLog(world.kafka) as log:
        working = asyncio.create_task(run_together(publisher.work(Opened(pool, log)), until(stopping)))
        await eventually(partial(_nothing_waits, world), "all rows to be forgotten", 6)
        stopping.set()
        await working
    assert await world.read(world.topics.hourly_usage) == []


async def test_what_does_not_count_becomes_a_dead_letter_with_coordinates(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    async with world.runner():
        await world.caught_up(1)
    use = partial(some_usage, key_id=key.subject)
    record_key = key.subject.encode()
    wrong = {
        "unreadable record: no value": None,
        "unreadable record: json_invalid": b"{",
        "unreadable record: hokusai.auth.KeyCreated.v1 is no use": encode(key),
        "oversized: ": b" " * 17_000,
        "KeyUsed.v1.data.predictions_count: greater_than_equal": _with(use(), b'"predictions_count":', b"-"),
        "KeyUsed.v1.data.response_time_ms: less_than_equal": _with(
            use(), b'"response_time_ms":', b"99999999"
        ),
        "too old: ": encode(use(time=_now() - timedelta(days=35, minutes=1))),
        "in the future: ": encode(use(time=_now() + timedelta(hours=1, minutes=1))),
        "unknown key: ": encode(some_usage(time=_now())),
    }
    right = [use(time=_now() - timedelta(days=34)), use(time=_now() + timedelta(minutes=55))]
    places = await world.append_raw([(record_key, value) for value in wrong.values()], world.topics.usage)
    await world.append_usage(right)
    async with world.runner(_usage_projection(world)):
        await eventually(partial(_has_applied, world, len(wrong) + 2), "all uses")
    assert await world.value("SELECT sum(requests)::int FROM projector.usage_hour") == 2
    letters = {place_of(letter): letter for letter in await world.read(world.topics.usage_dead_letters)}
    assert len(letters) == len(wrong)
    for place, (error, value) in zip(places, wrong.items(), strict=True):
        letter = letters[place.topic, place.partition, place.offset]
        assert error in headers_of(letter)["error"]
        assert (letter.key, letter.value) == (record_key, value)


def _partition(key: str) -> int:
    return home_partition(key, PARTITIONS)


def _usage_projection(world: World) -> UsageProjection:
    return UsageProjection(world.topics, partial(partition_ends, world.kafka, world.topics.lifecycle))


def _uses(keys: Sequence[KeyCreated], number: int) -> list[KeyUsed]:
    """So many uses of the last fifty minutes, in no order; one in ten is there twice."""
    now = _now()
    uses = [
        some_usage(
            key_id=random.choice(keys).subject,
            time=now - timedelta(seconds=random.randrange(3000)),
            status_code=random.choice([200, 200, 500]),
            compute_ms=random.random() * 10,
        )
        for _ in range(number)
    ]
    repeated = random.sample(uses, number // 10)
    return random.sample(uses + repeated, number + len(repeated))


async def _append(world: World, uses: Sequence[KeyUsed], identities: set[Identity]) -> int:
    await world.append_usage(uses)
    identities |= {(use.data.key_id, use.id) for use in uses}
    return len(uses)


async def _nothing_waits(world: World) -> bool:
    return bool(await world.value("SELECT NOT EXISTS (SELECT FROM projector.usage_unpublished)"))


async def _has_applied(world: World, uses: int) -> bool:
    return await world.uses_applied() >= uses


async def _rows(world: World) -> dict[str, list[str]]:
    return {
        table: await world.value(f"SELECT array_agg(t::text ORDER BY t::text) FROM projector.{table} t") or []
        for table in (*TABLES, "usage_published")
    }


async def _sums(world: World) -> dict[str, list[str]]:
    """What is remembered of identities depends on what was read first; no sum does."""
    return {table: rows for table, rows in (await _rows(world)).items() if table != "usage_identity"}


async def _reported(world: World) -> Counter[str]:
    """The highest count of each reported key and hour, summed up by key."""
    highest: dict[tuple[str, int], int] = {}
    for record in await world.read(world.topics.rate_counters):
        window = decode_total(record.value)
        assert isinstance(window, WindowCount)
        assert window.kind == "reports"
        place = (window.node_id, window.hour)
        highest[place] = max(window.count, highest.get(place, 0))
    reported: Counter[str] = Counter()
    for (node_id, _), count in highest.items():
        reported[node_id] += count
    return reported


async def _last_records_are_right(world: World) -> bool:
    rows = await world.value(
        "SELECT jsonb_object_agg(key_id || to_char(hour, '/YYYY-MM-DD\"T\"HH24'), requests)"
        " FROM projector.usage_hour"
    )
    totals = await world.hourly_totals()
    return bool(rows == {key.decode(): said[-1].revision for key, said in totals.items()})


def _with(use: KeyUsed, name: bytes, before: bytes) -> bytes:
    """The use with something put before the value of that name."""
    value = encode(use)
    assert name in value
    return value.replace(name, name + before)


def _now() -> datetime:
    return datetime.now(UTC)
