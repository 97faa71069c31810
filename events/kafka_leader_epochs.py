"""Which leader each partition has, by its epoch: every leader that begins, or comes back, raises it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped]
from aiokafka.errors import NodeNotReadyError  # type: ignore[import-untyped]
from aiokafka.protocol.api import Request, RequestStruct, Response  # type: ignore[import-untyped]
from aiokafka.protocol.metadata import MetadataResponse_v5  # type: ignore[import-untyped]
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String  # type: ignore[import-untyped]

from events.errors import LogUnavailable
from events.kafka_clients import REQUEST_TIMEOUT_MS, log_unavailable, running
from events.leaders import Leaders
from events.settings import KafkaSettings

LOOK_SECONDS = 1.0

logger = logging.getLogger(__name__)


class _Response(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 7
    SCHEMA = Schema(
        *zip(MetadataResponse_v5.SCHEMA.names[:-1], MetadataResponse_v5.SCHEMA.fields[:-1], strict=True),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
            ),
        ),
    )


class _Struct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 7
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(("topics", Array(String("utf-8"))), ("allow_auto_topic_creation", Boolean))


class _Request(Request[_Struct]):  # type: ignore[misc]
    """Metadata in the first version that tells epochs (Kafka 2.1); aiokafka's own goes up to the fifth."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        return request_struct_class([self._topic], False)


async def leader_epochs(client: Any, topic: str) -> Mapping[int, int]:
    """The epoch of each partition that has a leader. `client` is an `AIOKafkaClient` that is connected.

    Raises aiokafka's errors.
    """
    if (node := client.get_random_node()) is None:
        raise NodeNotReadyError("no broker is known")
    answer = await client.send(node, _Request(topic))
    return {
        partition["partition"]: partition["leader_epoch"]
        for found in answer.to_object()["topics"]
        for partition in found["partitions"]
        if partition["error_code"] == 0
    }


async def watch_leaders(kafka: KafkaSettings, topic: str, on_new_leader: Callable[[], None]) -> None:
    """Tell whenever a partition has got another leader, over a connection of its own. For ever."""
    leaders = Leaders()
    while True:
        try:
            consumer = AIOKafkaConsumer(**kafka.client_options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
            with log_unavailable(f"{topic}: leaders not known"):
                async with running(consumer, kafka):
                    while True:
                        if leaders.have_changed(await leader_epochs(consumer._client, topic)):
                            on_new_leader()
                        await asyncio.sleep(LOOK_SECONDS)
        except LogUnavailable as error:
            logger.debug("%s", error)
            await asyncio.sleep(LOOK_SECONDS)
