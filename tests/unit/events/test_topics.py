"""The topics are the agreement: what they keep decides whether the log can be trusted."""

from __future__ import annotations

import re

import pytest

from events.errors import SettingsError
from events.topics import Topics

DAY_MS = 24 * 3600 * 1000


def test_these_are_the_topics() -> None:
    assert [topic.name for topic in Topics().all()] == [
        "keys.lifecycle",
        "keys.lifecycle.dlq",
        "keys.peppers",
        "keys.usage",
        "keys.usage.dlq",
        "ratelimit.counters",
        "usage.hourly",
        "usage.progress",
        "billing.statements",
    ]


def test_all_names_every_topic_that_has_a_property() -> None:
    topics = Topics()
    properties = {name for name, value in vars(Topics).items() if isinstance(value, property)}
    named = {getattr(topics, name).name for name in properties - {"model_extra", "model_fields_set"}}
    assert named == {topic.name for topic in topics.all()}


def test_only_the_two_event_stores_are_sources_of_truth() -> None:
    topics = Topics()
    assert [topic for topic in topics.all() if topic.is_event_store] == [topics.lifecycle, topics.usage]


def test_only_use_waits_for_transactions() -> None:
    """A revocation waits for nobody's transaction."""
    topics = Topics()
    assert [topic for topic in topics.all() if topic.is_read_committed] == [topics.usage]


@pytest.mark.parametrize("name", ["lifecycle", "usage"])
def test_an_event_store_forgets_nothing_and_takes_the_broker_s_time(name: str) -> None:
    configuration = getattr(Topics(), name).configuration
    assert configuration["cleanup.policy"] == "delete", "compaction would drop all but a key's last event"
    assert configuration["retention.ms"] == configuration["retention.bytes"] == "-1"
    assert configuration["message.timestamp.type"] == "LogAppendTime"


def test_what_every_topic_holds_can_be_unpacked_and_held_by_every_reader() -> None:
    for topic in Topics().all():
        assert topic.configuration["compression.type"] == "producer"
        assert topic.configuration["max.message.bytes"] == "1048588"


def test_statements_are_kept_for_ever() -> None:
    configuration = Topics().statements.configuration
    assert (configuration["cleanup.policy"], configuration["retention.ms"]) == ("delete", "-1")


def test_the_progress_of_usage_is_told_in_the_broker_s_time() -> None:
    configuration = Topics().usage_progress.configuration
    assert configuration["message.timestamp.type"] == "LogAppendTime"
    assert configuration["cleanup.policy"] == "compact"


def test_counters_are_kept_for_three_hours_and_not_compacted() -> None:
    configuration = Topics().rate_counters.configuration
    assert configuration["cleanup.policy"] == "delete", "compaction would keep one node's count only"
    assert configuration["retention.ms"] == str(3 * 3600 * 1000)
    assert configuration["segment.ms"] == str(10 * 60 * 1000)


@pytest.mark.parametrize("name", ["hourly_usage", "peppers"])
def test_what_is_said_again_and_again_is_compacted(name: str) -> None:
    assert getattr(Topics(), name).configuration["cleanup.policy"] == "compact"


def test_deployments_that_are_older_than_two_topics_go_on_without_them() -> None:
    topics = Topics()
    assert [topic for topic in topics.all() if topic.is_optional] == [
        topics.peppers,
        topics.usage_progress,
    ]


@pytest.mark.parametrize("name", ["lifecycle_dead_letters", "usage_dead_letters"])
def test_dead_letters_are_kept_for_ninety_days(name: str) -> None:
    configuration = getattr(Topics(), name).configuration
    assert (configuration["cleanup.policy"], configuration["retention.ms"]) == ("delete", str(90 * DAY_MS))


def test_every_topic_has_the_partitions_it_keeps_for_life_and_no_unclean_leader() -> None:
    for topic in Topics().all():
        assert topic.partitions == 12
        assert topic.configuration["unclean.leader.election.enable"] == "false"
        assert topic.configuration["min.insync.replicas"] == "1"
        assert topic.record_key


def test_replication_is_a_setting_and_reaches_every_topic() -> None:
    topics = Topics.from_environment({"KAFKA_REPLICATION_FACTOR": "3", "KAFKA_MIN_INSYNC_REPLICAS": "2"})
    assert topics.replication_factor == 3
    assert {topic.configuration["min.insync.replicas"] for topic in topics.all()} == {"2"}


def test_a_prefix_comes_before_every_name() -> None:
    topics = Topics.from_environment({"KAFKA_TOPIC_PREFIX": "staging."})
    assert [topic.name for topic in topics.all()] == [f"staging.{topic.name}" for topic in Topics().all()]
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic.name) for topic in topics.all())


@pytest.mark.parametrize("prefix", ["a b", "a/", "ä", "a" * 101, "a\n"])
def test_a_prefix_that_kafka_would_refuse_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="KAFKA_TOPIC_PREFIX"):
        Topics.from_environment({"KAFKA_TOPIC_PREFIX": prefix})


@pytest.mark.parametrize("name", ["KAFKA_REPLICATION_FACTOR", "KAFKA_MIN_INSYNC_REPLICAS"])
def test_less_than_one_replica_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Topics.from_environment({name: "0"})
