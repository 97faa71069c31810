"""`hokusai-auth topics`, as an operator types it."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from events.settings import KafkaSettings
from events.topics import Topics
from services.topics import topics as command
from tests.integration.events.kafka_surgery import configure, delete


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, kafka_settings: KafkaSettings, topics: Topics) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_settings.bootstrap_servers)
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", topics.prefix)


def test_check_is_content_with_what_apply_has_made() -> None:
    assert run("check") == (0, "every topic is as agreed\n", "")


def test_apply_names_what_it_creates(kafka_settings: KafkaSettings, topics: Topics) -> None:
    asyncio.run(delete(kafka_settings, topics.statements))
    assert run("apply") == (0, f"created {topics.statements.name}\n", "")
    assert run("apply") == (0, "every topic exists already\n", "")


def test_check_fails_with_a_sentence_for_each_difference(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    asyncio.run(configure(kafka_settings, topics.usage, retention_ms="604800000"))
    asyncio.run(delete(kafka_settings, topics.statements))
    code, out, err = run("check")
    assert (code, out) == (1, "")
    retention, missing = err.splitlines()
    assert retention.startswith(f"{topics.usage.name} has retention.ms=604800000 instead of -1: run `")
    assert missing == f"{topics.statements.name} is missing: run `hokusai-auth topics apply`"


@pytest.mark.parametrize("changed", ["compression.type=lz4", "max.message.bytes=1000"])
def test_check_knows_what_can_hurt_a_reader_or_a_writer(
    kafka_settings: KafkaSettings, topics: Topics, changed: str
) -> None:
    name, _, value = changed.partition("=")
    for topic in topics.all():
        asyncio.run(configure(kafka_settings, topic, **{name.replace(".", "_"): value}))
    code, _, err = run("check")
    assert code == 1
    assert [line.partition(" instead")[0] for line in err.splitlines()] == [
        f"{topic.name} has {changed}" for topic in topics.all()
    ]


def test_apply_alters_nothing_and_fails(kafka_settings: KafkaSettings, topics: Topics) -> None:
    asyncio.run(configure(kafka_settings, topics.usage, retention_ms="604800000"))
    code, _, err = run("apply")
    assert code == 1
    assert "retention.ms=604800000 instead of -1" in err
    assert run("check")[0] == 1


@pytest.mark.parametrize("name", ["apply", "check"])
def test_a_broker_that_is_not_there_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    code, _, err = run(name)
    assert code == 1
    assert err.startswith("no connection to 127.0.0.1:1")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["apply", "check"])
def test_every_missing_setting_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", "with blanks")
    code, _, err = run(name)
    assert code == 1
    named = {line.split(":")[0] for line in err.splitlines()}
    assert named == {"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC_PREFIX"}


def run(name: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, [name])
    return result.exit_code, result.stdout, result.stderr
