"""A log that forgets, was cut up anew or is somebody else's: every service refuses to start, and says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.local.kafka import EmbeddedKafka
from tests.acceptance.stack import Stack
from tests.acceptance.the_log import add_partitions, alter_topic, create_topics, delete_first_record, records

REFUSED = 2
WEEK_MS = str(7 * 24 * 3_600_000)


def kept_for_a_week(stack: Stack) -> str:
    alter_topic(stack, stack.topics.lifecycle, "retention.ms", WEEK_MS)
    return "kafka-configs.sh"


def compacted(stack: Stack) -> str:
    alter_topic(stack, stack.topics.lifecycle, "cleanup.policy", "compact")
    return "kafka-configs.sh"


def without_its_head(stack: Stack) -> str:
    stack.api().client.new_key()
    (record,) = records(stack, stack.topics.lifecycle)
    delete_first_record(stack, stack.topics.lifecycle, record.partition)
    return "restore"


def with_more_partitions(stack: Stack) -> str:
    add_partitions(stack, stack.topics.lifecycle, stack.topics.lifecycle.partitions + 1)
    return "KAFKA_TOPIC_PREFIX"


@pytest.mark.parametrize("damaged", [kept_for_a_week, compacted, without_its_head, with_more_partitions])
def test_a_damaged_log_is_refused(stack: Stack, damaged: Callable[[Stack], str]) -> None:
    repair = damaged(stack)
    everybody_refuses(stack, stack.topics.lifecycle.name, repair)


def test_the_log_of_another_cluster_is_refused(stack: Stack, shaken_kafka: EmbeddedKafka) -> None:
    stack.projector().stop()
    with Stack(stack.folder / "elsewhere", shaken_kafka.bootstrap_servers, stack.database_url) as elsewhere:
        create_topics(elsewhere)
        everybody_refuses(elsewhere, "cluster", "DATABASE_URL")


def everybody_refuses(stack: Stack, what: str, repair: str) -> None:
    """With exit code 2 and one sentence that names what is wrong and how to repair it."""
    services = [stack.api(wait=False), stack.api(workers=2, wait=False), stack.projector(wait=False)]
    for service in services:
        assert service.wait_exit() == REFUSED, service.log_of_this_run()
        sentence = service.last_words()
        assert what in sentence
        assert repair in sentence
        assert "Traceback" not in service.log_of_this_run()
