"""SIGTERM: the batch in hand is finished, exit code 0, well within 10 s."""

from __future__ import annotations

import asyncio
import time

import pytest

from events.kafka_log import KafkaEventLog
from events.keeper.database import new_pool
from events.projection_runner import ProjectionRunner
from events.settings import KafkaSettings
from services.projector.keys import KeysProjection
from tests.integration.projector.world import World, eventually, lives

pytestmark = pytest.mark.anyio


async def test_sigterm_in_the_middle_of_a_backlog_ends_it_cleanly(world: World) -> None:
    await world.append(lives(4500))
    process = world.projector()
    await eventually(lambda: world.has_applied(1), "it to have begun")
    began = time.monotonic()
    process.terminate()
    await eventually(lambda: not process.is_running, "it to end")
    assert process.exit_code == 0, process.log_of_this_run()
    assert time.monotonic() - began < 10
    assert "Traceback" not in process.log_of_this_run()
    applied = await world.applied()
    assert 0 < applied < 4500, "it was over before the signal"
    assert (await world.verified(patience_seconds=0)).differences.listed == []


async def test_sigterm_while_it_waits_for_its_first_connection_ends_it_cleanly(world: World) -> None:
    process = world.projector(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    await eventually(lambda: process.says("waiting for Kafka at 127.0.0.1:1"), "it to wait")
    await asyncio.to_thread(process.stop)
    assert process.exit_code == 0, process.log_of_this_run()


async def test_a_runner_that_waits_for_kafka_stops_when_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a log was not ours for a while, and Kafka is away when it could go on."""
    monkeypatch.setattr("events.projection_runner.LAST_BATCH_SECONDS", 0.1)
    world.kafka = KafkaSettings(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    runner = ProjectionRunner(
        world.kafka,
        new_pool(world.database_url, "projector"),
        KafkaEventLog(world.kafka),
        KeysProjection(world.topics),
        "nobody",
        world.metrics.of("keys"),
    )
    stopping = asyncio.Event()
    stopping.set()
    async with asyncio.timeout(5):
        await runner.run(stopping)
