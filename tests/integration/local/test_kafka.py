from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]

from services.local.kafka import EmbeddedKafka
from services.local.kafka_classes import noted_classes
from services.local.ports import LOOPBACK, free_ports

TOPIC = "kept"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    with EmbeddedKafka(tmp_path) as broker:
        yield broker


def test_what_was_acknowledged_survives_a_kill_and_a_stop(broker: EmbeddedKafka, tmp_path: Path) -> None:
    """As clients see it: the same address, the same cluster, the same records."""
    address, cluster_id = broker.bootstrap_servers, asyncio.run(_create_topic(broker))
    asyncio.run(_append(broker, b"before the kill"))
    broker.kill()
    broker.start()
    broker.wait_ready()
    asyncio.run(_append(broker, b"before the stop"))
    broker.stop()
    with EmbeddedKafka(tmp_path) as again:
        assert again.bootstrap_servers == address
        assert asyncio.run(_cluster_id(again)) == cluster_id
        assert asyncio.run(_read(again, 2)) == [b"before the kill", b"before the stop"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has mapped is told by Linux")
def test_it_starts_from_the_classes_that_were_noted(broker: EmbeddedKafka) -> None:
    """Java passes over notes that it cannot use, and says nothing."""
    noted = noted_classes(platformdirs.user_cache_path("hokusai-auth"))
    assert str(noted) in Path(f"/proc/{broker.pid}/maps").read_text()


def test_it_answers_nothing_while_it_is_paused(broker: EmbeddedKafka) -> None:
    asyncio.run(_create_topic(broker))
    asyncio.run(_append_through_a_pause(broker))


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    first = EmbeddedKafka(tmp_path).bootstrap_servers
    assert EmbeddedKafka(tmp_path).bootstrap_servers == first
    with socket.create_server((LOOPBACK, int(first.split(":")[1]))):
        second = EmbeddedKafka(tmp_path).bootstrap_servers
    assert second != first
    assert EmbeddedKafka(tmp_path).bootstrap_servers == second


def test_a_wanted_port_is_taken(tmp_path: Path) -> None:
    [port] = free_ports(1)
    assert EmbeddedKafka(tmp_path, port).bootstrap_servers == f"{LOOPBACK}:{port}"


def test_a_port_file_that_makes_no_sense_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "ports.json").write_text("[1")
    EmbeddedKafka(tmp_path).bootstrap_servers  # noqa: B018
    assert len(json.loads((tmp_path / "kafka" / "ports.json").read_text())) == 2


async def _create_topic(broker: EmbeddedKafka) -> str:
    async with _admin(broker) as admin:
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    return await _cluster_id(broker)


async def _cluster_id(broker: EmbeddedKafka) -> str:
    async with _admin(broker) as admin:
        described = await admin.describe_cluster()
        return str(described["cluster_id"])


async def _append(broker: EmbeddedKafka, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        await producer.send_and_wait(TOPIC, value)


async def _append_through_a_pause(broker: EmbeddedKafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        await producer.send_and_wait(TOPIC, b"before")
        broker.pause()
        during = asyncio.ensure_future(producer.send_and_wait(TOPIC, b"during"))
        answered, _ = await asyncio.wait({during}, timeout=0.5)
        assert not answered
        broker.resume()
        await during


async def _read(broker: EmbeddedKafka, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        return [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(count)]


class _admin:  # noqa: N801
    def __init__(self, broker: EmbeddedKafka) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._admin.start()
        return self._admin

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()
