"""Each difference of a topic is told in one sentence, with its repair."""

from __future__ import annotations

from collections.abc import Mapping

from events.kafka_cluster import FoundTopic
from events.topic_differences import topic_differences
from events.topics import Topics

TOPIC = Topics.from_environment({"KAFKA_TOPIC_PREFIX": "live."}).lifecycle


def test_a_topic_as_agreed_differs_in_nothing() -> None:
    assert differences(FoundTopic(12, 3, TOPIC.configuration), TOPIC.configuration, replicas=3) == []


def test_a_missing_topic_is_created_by_a_command() -> None:
    assert differences(None, TOPIC.configuration) == [
        "live.keys.lifecycle is missing: run `hokusai-auth topics apply`"
    ]


def test_another_partition_count_cannot_be_repaired_in_place() -> None:
    [sentence] = differences(FoundTopic(11, 1, {}), {})
    assert sentence == (
        "live.keys.lifecycle has 11 partitions instead of the 12 it is born with, so records of one key may "
        "be in two of them: make the topics anew under another KAFKA_TOPIC_PREFIX and restore each of "
        "them from this one, as docs/operations.md says"
    )


def test_each_setting_that_differs_is_a_sentence_with_its_command() -> None:
    found = FoundTopic(12, 1, {"cleanup.policy": "compact"})
    agreed = {"cleanup.policy": "delete", "retention.ms": "-1"}
    assert differences(found, agreed) == [
        "live.keys.lifecycle has cleanup.policy=compact instead of delete: run `kafka-configs.sh "
        "--bootstrap-server broker:9092 --alter --entity-type topics --entity-name live.keys.lifecycle "
        "--add-config cleanup.policy=delete`",
        "live.keys.lifecycle has retention.ms=None instead of -1: run `kafka-configs.sh "
        "--bootstrap-server broker:9092 --alter --entity-type topics --entity-name live.keys.lifecycle "
        "--add-config retention.ms=-1`",
    ]


def test_settings_that_nobody_agreed_on_are_free() -> None:
    assert differences(FoundTopic(12, 1, {"max.message.bytes": "1"}), {}) == []


def test_fewer_replicas_than_agreed_are_a_difference_and_more_are_not() -> None:
    assert differences(FoundTopic(12, 1, {}), {}, replicas=3) == [
        "live.keys.lifecycle is kept by 1 brokers instead of 3: "
        "run `kafka-reassign-partitions.sh --bootstrap-server broker:9092`"
    ]
    assert differences(FoundTopic(12, 3, {}), {}, replicas=1) == []


def differences(found: FoundTopic | None, agreed: Mapping[str, str], replicas: int = 1) -> list[str]:
    return list(
        topic_differences(TOPIC, found, agreed=agreed, bootstrap_servers="broker:9092", replicas=replicas)
    )
