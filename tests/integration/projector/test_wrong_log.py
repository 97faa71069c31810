"""Another log, or one that forgets: refused, with exit code 2 and a sentence that says how to repair it."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import RecordsToDelete  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]

from events.kafka_clients import administration
from tests.integration.projector.world import ProjectorProcess, World, eventually, lives

pytestmark = pytest.mark.anyio

WEEK_MS = "604800000"


async def test_a_topic_that_forgets_after_a_week_is_refused(world: World) -> None:
    await _set_retention(world, WEEK_MS)
    sentence = await _refusal(world.projector())
    assert "retention.ms" in sentence


async def test_a_log_without_its_head_is_refused(world: World) -> None:
    first, *_ = await world.append(lives(30))
    beginning = {
        TopicPartition(first.topic, first.partition): RecordsToDelete(before_offset=first.offset + 1)
    }
    async with administration(world.kafka) as admin:
        await admin.delete_records(beginning)
    sentence = await _refusal(world.projector())
    assert f"{first.topic}/{first.partition} begins at offset 1" in sentence


async def test_the_log_of_another_cluster_than_postgres_was_filled_from_is_refused(world: World) -> None:
    async with world.runner():
        pass
    await world.execute(
        "INSERT INTO projector.log_identity (cluster_id, lifecycle_topic) VALUES ('another-cluster', 'k')"
    )
    assert "another-cluster" in await _refusal(world.projector())


async def test_an_offset_that_the_log_does_not_have_is_refused_never_reset(world: World) -> None:
    """The log was restored from an older copy, say."""
    await world.append(lives(30))
    async with world.runner():
        await world.caught_up(30)
    await world.execute("UPDATE projector.projection_offset SET next_offset = 1000 WHERE partition = 3")
    process = world.projector()
    sentence = f"{world.topics.lifecycle.name}/3 has lost records"
    await eventually(lambda: process.says(sentence), "it to refuse")
    await eventually(lambda: process.says("(1000 records were read, and it ends at offset"), "it to say why")
    await eventually(lambda: process.metric("projector_log_is_ours") == 0, "it to tell")
    assert not process.is_ready()
    assert (
        await world.value("SELECT next_offset FROM projector.projection_offset WHERE partition = 3") == 1000
    )


async def test_a_log_that_turns_wrong_stops_projecting_until_it_is_repaired(world: World) -> None:
    process = world.projector(LOG_CHECK_SECONDS="0.2")
    await eventually(lambda: len(process.samples("projector_lag_records")) == 3 * 12, "all partitions")
    await _set_retention(world, WEEK_MS)
    await eventually(lambda: process.says("stopped projecting"), "it to notice")
    await eventually(lambda: not process.is_ready(), "it to be not ready")
    assert process.metric("projector_log_is_ours") == 0
    await eventually(lambda: not process.samples("projector_lag_records"), "it to leave its partitions")
    await world.append(lives(30))
    await _set_retention(world, "-1")
    await eventually(process.is_ready, "it to be ready again")
    await world.caught_up(30)


async def test_all_missing_and_wrong_settings_are_told_together(world: World) -> None:
    process = world.projector(DATABASE_URL="", KAFKA_SECURITY_PROTOCOL="TELEPATHY", LOG_LEVEL="CHATTY")
    sentence = await _refusal(process)
    for name in ("DATABASE_URL", "KAFKA_SECURITY_PROTOCOL", "LOG_LEVEL"):
        assert name in sentence


async def _refusal(process: ProjectorProcess) -> str:
    """The one sentence on which it ended with exit code 2."""
    await eventually(lambda: not process.is_running, "it to refuse")
    *_, sentence = process.log_of_this_run().strip().splitlines()
    assert process.exit_code == 2, process.log_of_this_run()
    assert sentence.startswith("hokusai-auth projector: ")
    return sentence


async def _set_retention(world: World, milliseconds: str) -> None:
    # This request replaces everything that was ever set on the topic.
    whole = {**world.topics.lifecycle.configuration, "retention.ms": milliseconds}
    resource = ConfigResource(ConfigResourceType.TOPIC, world.topics.lifecycle.name, whole)
    async with administration(world.kafka) as admin:
        await admin.alter_configs([resource])
