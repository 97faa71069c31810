"""A broker that asks who is there: every client of ours answers with the settings it was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.log_identity import check_log
from events.settings import KafkaSettings
from events.topic_admin import apply_topics, compare_topics
from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from services.local.program import Program
from tests.conftest import IN_CONTAINERS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
]

PASSWORD = "a password with = and ; in it"
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class GuardedKafka(EmbeddedKafka):
    """A broker that lets nobody in but `hokusai`, with `PASSWORD`."""

    def program(self) -> Program:
        program = super().program()
        properties = Path(program.arguments[-1])
        guarded = {
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "security.inter.broker.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                f'{JAAS} username="hokusai" password="{PASSWORD}" user_hokusai="{PASSWORD}";'
            ),
        }
        text = properties.read_text().replace("PLAINTEXT://", "SASL_PLAINTEXT://")
        properties.write_text(text + "".join(f"{name}={value}\n" for name, value in guarded.items()))
        return program


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    with GuardedKafka(tmp_path_factory.mktemp("guarded-kafka")) as kafka:
        yield kafka


async def test_the_right_password_opens_every_client(guarded_kafka: GuardedKafka) -> None:
    settings, topics = settings_of(guarded_kafka, PASSWORD), Topics.from_environment({})
    assert len(await apply_topics(settings, topics)) == len(topics.all())
    assert await compare_topics(settings, topics) == []
    assert await check_log(settings, topics, None)
    async with KafkaEventLog(settings) as log, KafkaLogReader(settings, topics.lifecycle) as reader:
        await reader.begin({})
        await log.append(topics.lifecycle.name, b"key", b"value")
        assert [record.value for record in await reader.read(timeout_seconds=20)] == [b"value"]


async def test_a_wrong_password_opens_none_and_is_not_repeated(
    guarded_kafka: GuardedKafka, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    settings, topics = settings_of(guarded_kafka, "not the password"), Topics.from_environment({})
    with pytest.raises(LogUnavailable) as refusal:
        await check_log(settings, topics, None)
    with pytest.raises(LogUnavailable):
        await KafkaEventLog(settings).__aenter__()
    with pytest.raises(LogUnavailable):
        await KafkaLogReader(settings, topics.lifecycle).__aenter__()
    assert "Authentication failed" in caplog.text
    assert "not the password" not in caplog.text + repr(refusal.value) + repr(settings)


async def test_who_does_not_say_who_he_is_stays_outside(guarded_kafka: GuardedKafka) -> None:
    anonymous = KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": guarded_kafka.bootstrap_servers})
    with pytest.raises(LogUnavailable):
        await check_log(anonymous, Topics.from_environment({}), None)


def settings_of(kafka: EmbeddedKafka, password: str) -> KafkaSettings:
    return KafkaSettings.from_environment(
        {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": "hokusai",
            "KAFKA_SASL_PASSWORD": password,
        }
    )
