"""The windows process with a real log and database: what it writes, what it waits for, how it ends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.builders import fresh_id
from tests.integration.projector.windows_world import WindowsWorld, a_count
from tests.integration.projector.world import eventually

pytestmark = pytest.mark.anyio

#: Fails at a count of 13, whoever has counted so far.
FAULTY = """
import os, sys
import services.projector.rate_windows as rate_windows
from services.projector.__main__ import main
merge = rate_windows.merge
def fail(window, counter):
    if counter.count == 13:
        raise ZeroDivisionError("on purpose")
    return merge(window, counter)
rate_windows.merge = fail
sys.exit(main(os.environ, "windows"))
"""
#: Writes nothing by itself, and says what it has counted.
LAZY = """
import os, sys
import services.projector.rate_windows as rate_windows
import services.projector.rate_windows_process as process
from services.projector.__main__ import main
process.WRITE_INTERVAL_SECONDS = 3600
merge = rate_windows.merge
def tell(window, counter):
    print("counted", counter.count, flush=True)
    return merge(window, counter)
rate_windows.merge = tell
sys.exit(main(os.environ, "windows"))
"""
#: A part of Faust dies, as its producer does of an error that no retry mends.
CRASHING = """
import os, sys
import services.projector.rate_windows_process as process
from services.projector.__main__ import main
async def crash(app, topic, unwritten):
    await app.crash(RuntimeError("on purpose"))
    return {}
process._lags = crash
sys.exit(main(os.environ, "windows"))
"""


async def test_it_waits_for_the_schema_then_writes_counts_and_the_offsets_they_include(
    windows_world: WindowsWorld,
) -> None:
    world, key_id = windows_world, fresh_id()
    counters = [a_count(fresh_id(), number) for number in range(1, 31)]
    counters += [a_count(key_id, 3, last_used={key_id: 1_700_000_000_123}), a_count(key_id, 2, node_id="b")]
    counters.append(a_count(key_id, 1, last_used={key_id: 1_600_000_000_000}))
    places = await world.count(counters)
    places = [*places, *await world.count_raw([(None, b"{}"), (b"\xff", b"{"), (b"k", None)])]
    process = world.windows()
    await eventually(lambda: process.says("waiting for schema projector"), "it to say what it waits for")
    await world.make_schema()
    await eventually(lambda: world.has(counters), "every count")
    await eventually(process.is_ready, "it to be ready")
    ends = dict.fromkeys(range(world.topics.rate_counters.partitions), 0)
    for place in places:
        ends[place.partition] = max(ends[place.partition], place.offset + 1)
    assert (await world.seen())[1] == ends
    assert await world.value("SELECT last_used_at::text FROM projector.key_activity") == (
        "2023-11-14 22:13:20.123+00"
    )
    assert process.metric("windows_dead_letters_total") == 3
    assert process.metric("windows_applied_records_total") == len(places)


async def test_what_cannot_be_handled_ends_the_process_and_is_counted_by_the_next(
    windows_world: WindowsWorld,
) -> None:
    world, lineage_id = windows_world, fresh_id()
    counters = [a_count(lineage_id, number) for number in (11, 12, 13)]
    counters.append(a_count(lineage_id, 1, node_id="other"))
    await world.make_schema()
    faulty = world.windows("-c", FAULTY)
    await eventually(faulty.is_ready, "it to be ready")
    await world.count(counters)
    await eventually(lambda: not faulty.is_running, "it to end")
    assert faulty.exit_code == 70
    assert faulty.says("ZeroDivisionError: on purpose")
    world.windows()
    await eventually(lambda: world.has(counters), "the counter that nobody could handle")


async def test_it_does_not_outlive_a_part_of_faust(windows_world: WindowsWorld) -> None:
    await windows_world.make_schema()
    process = windows_world.windows("-c", CRASHING)
    await eventually(lambda: not process.is_running, "it to end")
    assert process.exit_code in (1, 70)
    assert process.says("RuntimeError: on purpose")


async def test_sigterm_writes_the_last_counts_and_ends_cleanly(windows_world: WindowsWorld) -> None:
    world, counters = windows_world, [a_count(fresh_id(), 77)]
    await world.make_schema()
    process = world.windows("-c", LAZY)
    await eventually(process.is_ready, "it to be ready")
    await world.count(counters)
    await eventually(lambda: process.says("counted 77"), "it to count")
    assert not await world.has(counters)
    began = time.monotonic()
    process.terminate()
    await eventually(lambda: not process.is_running, "it to end")
    assert process.exit_code == 0, process.log_of_this_run()
    assert time.monotonic() - began < 10
    assert "Traceback" not in process.log_of_this_run()
    assert await world.has(counters)


async def test_a_schema_made_anew_is_filled_again_also_when_nobody_was_there(
    windows_world: WindowsWorld,
) -> None:
    world = windows_world
    counters = [a_count(fresh_id(), number) for number in range(1, 31)]
    await world.make_schema()
    await world.count(counters)
    process = world.windows()
    await eventually(lambda: world.has(counters), "every count")
    _, positions = await world.seen()

    await world.execute("DROP SCHEMA projector CASCADE")
    await eventually(lambda: not process.is_ready(), "it to be not ready")
    await world.make_schema()
    await eventually(lambda: world.has(counters), "every count again")
    assert (await world.seen())[1] == positions

    await asyncio.to_thread(process.stop)
    await world.execute("DROP SCHEMA projector CASCADE")
    await world.make_schema()
    world.windows()
    await eventually(lambda: world.has(counters), "every count once more")
    assert (await world.seen())[1] == positions


async def test_a_log_that_turns_wrong_is_left_alone_until_it_is_right(windows_world: WindowsWorld) -> None:
    world, counters = windows_world, [a_count(fresh_id(), 5)]
    await world.make_schema()
    process = world.windows(LOG_CHECK_SECONDS="0.2")
    await eventually(lambda: len(process.samples("windows_lag_records")) == 12, "all partitions")
    cluster_id = await world.value("SELECT cluster_id FROM projector.log_identity")
    await world.execute("UPDATE projector.log_identity SET cluster_id = 'another'")
    await eventually(lambda: process.says("this is not our log"), "it to notice")
    await eventually(lambda: not process.samples("windows_lag_records"), "it to leave its partitions")
    await eventually(lambda: not process.is_ready(), "it to be not ready")
    await world.count(counters)
    await world.execute(f"UPDATE projector.log_identity SET cluster_id = '{cluster_id}'")
    await eventually(lambda: world.has(counters), "it to go on")
    await eventually(process.is_ready, "it to be ready again")


async def test_postgres_gone_and_back_is_waited_for(
    kafka_settings: KafkaSettings, topics: Topics, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    world = WindowsWorld(kafka_settings, topics, own_postgres.database_url, tmp_path)
    counters = [a_count(fresh_id(), 5)]
    await world.make_schema()
    process = world.windows()
    try:
        await eventually(process.is_ready, "it to be ready")
        own_postgres.stop()
        await eventually(lambda: process.says("waiting for Postgres at"), "a word about Postgres")
        await eventually(lambda: not process.is_ready(), "it to be not ready")
        await world.count(counters)
        own_postgres.start()
        await asyncio.to_thread(own_postgres.wait_ready)
        await eventually(lambda: world.has(counters), "the count")
        assert process.is_running
    finally:
        world.kill_all()


async def test_sigterm_while_kafka_is_away_ends_it_cleanly_all_the_same(
    own_kafka: EmbeddedKafka, database_url: str, tmp_path: Path
) -> None:
    kafka = KafkaSettings(KAFKA_BOOTSTRAP_SERVERS=own_kafka.bootstrap_servers)
    world, counters = WindowsWorld(kafka, Topics(), database_url, tmp_path), [a_count(fresh_id(), 5)]
    await apply_topics(kafka, world.topics)
    await world.make_schema()
    process = world.windows()
    try:
        await eventually(process.is_ready, "it to be ready")
        await world.count(counters)
        await eventually(lambda: world.has(counters), "the count")
        own_kafka.kill()
        began = time.monotonic()
        process.terminate()
        await eventually(lambda: not process.is_running, "it to end")
        assert process.exit_code == 0, process.log_of_this_run()
        assert time.monotonic() - began < 10
    finally:
        world.kill_all()
