"""`ratelimit.counters` has lost its last records: the windows process refuses it, and goes on when told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from tests.builders import fresh_id
from tests.conftest import IN_CONTAINERS
from tests.integration.events.kafka_surgery import lost_tails
from tests.integration.projector.commands import hokusai_auth
from tests.integration.projector.windows_world import WindowsWorld, a_count
from tests.integration.projector.world import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
    pytest.mark.timeout(180),
]

COUNTED = 10
LEFT = 3


@pytest.fixture
async def breakable(own_kafka: EmbeddedKafka, database_url: str, tmp_path: Path) -> WindowsWorld:
    kafka = KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": own_kafka.bootstrap_servers})
    topics = Topics.from_environment({})
    await apply_topics(kafka, topics)
    return WindowsWorld(kafka, topics, database_url, tmp_path)


@pytest.fixture(autouse=True)
def _no_process_stays(breakable: WindowsWorld) -> Iterator[None]:
    yield
    breakable.kill_all()


async def test_counters_that_came_after_a_loss_are_counted_once_it_is_accepted(
    breakable: WindowsWorld, own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    await breakable.make_schema()
    lineage, topic = fresh_id(), breakable.topics.rate_counters.name
    for number in range(COUNTED):  # one batch each
        (place,) = await breakable.count([a_count(lineage, number + 1)])
    process = breakable.windows(LOG_CHECK_SECONDS="0.5")
    await eventually(lambda: breakable.has([a_count(lineage, COUNTED)]), "them to be counted")
    process.pause()
    with lost_tails(own_kafka, tmp_path, {(topic, place.partition): LEFT}):
        pass
    late = [a_count(lineage, 1, node_id=f"late-{number}") for number in range(2 * COUNTED)]
    for one in late:
        await breakable.count([one])
    process.resume()
    await eventually(lambda: process.says("has lost records"), "it to notice", 60)
    await eventually(lambda: not process.is_ready(), "it to be not ready")
    assert process.metric("windows_log_is_ours") == 0
    place_of = ["--topic", topic, "--partition", str(place.partition)]
    await eventually(lambda: process.says("stopped projecting"), "it to leave")
    await hokusai_auth(
        breakable, "log", "accept-loss", *place_of, "--actor", "oncall", "--reason", "disk", "--yes"
    )
    await eventually(lambda: breakable.has([a_count(lineage, COUNTED), *late]), "all to be counted", 60)
    await eventually(process.is_ready, "it to go on")
