"""A partition has lost its last records and has grown again: refused, and refused for good."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]

from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import PARTITIONS, Topics
from events.usage import KeyUsed
from services.local.kafka import EmbeddedKafka
from tests.builders import a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting, some_usage
from tests.conftest import IN_CONTAINERS
from tests.integration.events.kafka_surgery import lost_tails
from tests.integration.projector.commands import documented, hokusai_auth
from tests.integration.projector.world import ProjectorProcess, World, eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
    pytest.mark.timeout(180),
]

READ = 25
LEFT = 5
QUICK = {"LOG_CHECK_SECONDS": "0.5"}


class Uses:
    """Uses of one key, and so of one partition."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = a_key_created()
        self.partition = -1

    async def create_key(self) -> None:
        await self._world.append([self._key])

    async def append(self, count: int) -> None:
        """One batch each."""
        for _ in range(count):
            (place,) = await self._world.append_usage([self._use()])
            self.partition = place.partition

    def _use(self) -> KeyUsed:
        return some_usage(key_id=self._key.subject)


@pytest.fixture
async def breakable(own_kafka: EmbeddedKafka, database_url: str, tmp_path: Path) -> World:
    """A world on a broker of its own, whose files lie in `tmp_path`."""
    kafka = KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": own_kafka.bootstrap_servers})
    topics = Topics.from_environment({})
    await apply_topics(kafka, topics)
    return World(kafka, topics, database_url, tmp_path)


@pytest.fixture(autouse=True)
def _no_process_stays(breakable: World) -> Iterator[None]:
    yield
    breakable.kill_all()


async def test_a_tail_lost_under_a_running_projector_is_refused_for_good(
    breakable: World, own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    uses, process = await _after_reading(breakable)
    with lost_tails(own_kafka, tmp_path, {(breakable.topics.usage.name, uses.partition): LEFT}):
        pass
    await _is_refused(process)
    await uses.append(2 * READ)
    await _stays_refused(breakable, process)
    process.stop()
    process.start()
    await _is_refused(process)
    await _stays_refused(breakable, process)
    first_lost = await breakable.value("SELECT first_lost FROM projector.log_refusal")
    assert 0 <= first_lost <= LEFT
    assert process.says(f"hokusai-auth log accept-loss --topic keys.usage --partition {uses.partition}")


async def test_a_log_that_has_grown_again_before_anybody_looks_is_refused(
    breakable: World, own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    uses, process = await _after_reading(breakable)
    process.stop()
    with lost_tails(own_kafka, tmp_path, {(breakable.topics.usage.name, uses.partition): LEFT}):
        pass
    await uses.append(2 * READ)
    process.start()
    await _is_refused(process)
    await _stays_refused(breakable, process)


async def test_a_projector_that_is_stopped_across_loss_and_growth_finds_out(
    breakable: World, own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """It reads straight on, so its newest mark agrees with the log."""
    uses, process = await _after_reading(breakable)
    process.pause()
    with lost_tails(own_kafka, tmp_path, {(breakable.topics.usage.name, uses.partition): LEFT}):
        pass
    await uses.append(2 * READ)
    process.resume()
    await _is_refused(process)
    process.stop()
    process.start()
    await _is_refused(process)


async def _after_reading(world: World) -> tuple[Uses, ProjectorProcess]:
    """A projector that has read 25 uses of one partition."""
    uses = Uses(world)
    await uses.create_key()
    await uses.append(READ)
    process = world.projector(**QUICK)
    await eventually(_reads(world, READ), f"{READ} uses in Postgres")
    return uses, process


def _reads(world: World, records: int) -> Callable[[], Awaitable[bool]]:
    async def has_read() -> bool:
        return await world.uses_applied() >= records

    return has_read


async def _is_refused(process: ProjectorProcess) -> None:
    await eventually(lambda: process.says("has lost records"), "it to notice", 60)
    await eventually(lambda: not process.is_ready(), "it to be not ready")
    assert process.is_running, process.log_of_this_run()
    assert process.metric("projector_log_is_ours") == 0


async def _stays_refused(world: World, process: ProjectorProcess) -> None:
    """However often it looks: what is to be lost is lost after the next batch."""
    before = process.log_of_this_run().count("has lost records")
    await eventually(
        lambda: process.log_of_this_run().count("has lost records") >= before + 3, "three more looks"
    )
    assert not process.is_ready()
    assert await world.uses_applied() == READ


async def test_use_that_came_after_an_accepted_loss_counts_and_what_was_lost_stays_counted(
    breakable: World, own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    uses, process = await _after_reading(breakable)
    with lost_tails(own_kafka, tmp_path, {(breakable.topics.usage.name, uses.partition): LEFT}):
        pass
    await uses.append(2 * READ)
    await _is_refused(process)
    place = f"--topic keys.usage --partition {uses.partition}"
    assert f"accept-loss {place}" in await hokusai_auth(breakable, "log", "refusals", exit_code=1)
    said = await accept_loss(breakable, breakable.topics.usage.name, uses.partition)
    assert "projector: reads on at offset" in said
    await eventually(process.is_ready, "it to go on")
    await eventually(_reads(breakable, LEFT + 2 * READ), "the new uses in Postgres")
    assert await breakable.value("SELECT sum(requests) FROM projector.usage_hour") == 3 * READ
    loss = "SELECT actor || ', ' || reason || ', ' || (applied_to - first_lost >= 20) FROM projector.log_loss"
    assert await breakable.value(loss) == "oncall, disk of broker 1 died, true"
    assert await hokusai_auth(breakable, "log", "refusals") == "nothing is refused\n"
    process.stop()
    process.start()
    await eventually(process.is_ready, "it to start as ever")


async def test_lifecycle_events_that_were_lost_are_put_back_into_the_log(
    breakable: World, own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """No revocation is undone, not even by a rebuild."""
    created = a_key_created()
    rotated = a_key_rotated(created)
    refingerprinted = a_refingerprinting(rotated)
    revoked = a_key_revoked(rotated, sequence=4)
    other = a_key_created()
    while partition_of(other.partitionkey) != partition_of(created.partitionkey):
        other = a_key_created()
    for event in (created, rotated, refingerprinted, revoked):
        await breakable.append([event])
    process = breakable.projector(**QUICK)
    await eventually(lambda: breakable.has_applied(4), "four events in Postgres")
    rows = await _keys(breakable)
    lifecycle, partition = breakable.topics.lifecycle.name, partition_of(created.partitionkey)
    with lost_tails(own_kafka, tmp_path, {(lifecycle, partition): 1}):
        pass
    await breakable.append([other])
    await _is_refused(process)
    await accept_loss(breakable, lifecycle, partition)
    await eventually(process.is_ready, "it to go on")
    await breakable.caught_up(5)
    assert await _keys(breakable) == rows
    lost = await breakable.value("SELECT lost FROM projector.log_loss")
    assert [event["event_id"] for event in lost] == [rotated.id, refingerprinted.id, revoked.id]
    process.stop()
    await breakable.execute("DROP SCHEMA projector CASCADE")
    process.start()
    await breakable.caught_up(5)
    assert await _keys(breakable) == rows


async def _keys(world: World) -> object:
    return await world.value(
        "SELECT json_agg(key ORDER BY position) FROM projector.key"
        " WHERE lineage_id IN (SELECT lineage_id FROM projector.lineage WHERE sequence = 4)"
    )


def partition_of(key: str) -> int:
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


async def accept_loss(world: World, topic: str, partition: int) -> str:
    """As docs/operations.md says, word for word."""
    listing, accepting = documented("The log has lost records that were read")
    assert f"--topic {topic} --partition {partition}" in await hokusai_auth(
        world, *shlex.split(listing)[1:], exit_code=1
    )
    names = {"keys.usage": topic, "3": str(partition)}
    arguments = [names.get(argument, argument) for argument in shlex.split(accepting)[1:]]
    return await hokusai_auth(world, *arguments, "--yes")
