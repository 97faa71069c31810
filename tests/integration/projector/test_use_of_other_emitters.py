"""Uses as SDKs of others emit them, through the real log: counted once, and `audit verify` agrees."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent

from events.codec import encode
from events.kafka_cluster import partition_ends
from events.kafka_log import KafkaEventLog
from services.projector.usage import UsageProjection
from tests.builders import a_key_created, fresh_id, some_usage
from tests.integration.projector.world import World, eventually

pytestmark = pytest.mark.anyio

BATCHED = (("content-type", b"application/cloudevents-batch+json"),)


async def test_every_content_mode_counts_and_what_is_wrong_in_a_batch_is_told(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    async with world.runner():
        await world.caught_up(1)
    one, other = (some_usage(key_id=key.subject, time=datetime.now(UTC)) for _ in range(2))
    needed = {"type": one.type, "source": "urn:others", "id": "needed"}
    data = one.data.model_dump()
    uses = [json.loads(encode(use)) for use in (one, other)]
    stranger = {**uses[0], **dict.fromkeys(("subject", "partitionkey"), None), "id": "stranger"}
    batch = [*uses, uses[1], {**uses[1], "id": 7}, {**stranger, "data": {**data, "key_id": fresh_id()}}]
    wrong = {**needed, "subject": fresh_id()}
    async with KafkaEventLog(world.kafka) as log:

        async def emit(message: kafka.KafkaMessage) -> None:
            await log.append(topic, key.subject.encode(), message.value, list(message.headers.items()))

        topic = world.topics.usage.name
        for convert in (kafka.to_binary_event, kafka.to_structured_event):
            await emit(convert(CloudEvent({**needed, "id": convert.__name__}, data)))
        await emit(kafka.to_binary_event(CloudEvent(wrong, data)))
        place = await log.append(topic, key.subject.encode(), json.dumps(batch).encode(), BATCHED)
    ends = partial(partition_ends, world.kafka, world.topics.lifecycle)
    async with world.runner(UsageProjection(world.topics, ends)):
        await eventually(partial(_has_applied, world, 4), "all records")
    assert await world.value("SELECT sum(requests)::int FROM projector.usage_hour") == 4
    assert (await world.verified(patience_seconds=0)).differences.listed == []
    mismatch, of_batch = sorted(
        (dict(letter.headers) for letter in await world.read(world.topics.usage_dead_letters)),
        key=lambda headers: int(headers["offset"]),
    )
    assert b"value_error" in mismatch["error"]
    assert int(of_batch["offset"]) == place.offset
    assert of_batch["error"].startswith(b"unknown key: ")
    assert of_batch["error"].endswith(
        b"; unreadable record: event 4 of 5: hokusai.auth.KeyUsed.v1.id: string_type"
    )


async def test_a_use_without_a_time_is_dated_the_same_in_a_rebuild(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    written: dict[str, Any] = json.loads(encode(some_usage(key_id=key.subject)))
    del written["time"]
    await world.append_raw([(key.subject.encode(), json.dumps(written).encode())], world.topics.usage)
    ends = partial(partition_ends, world.kafka, world.topics.lifecycle)
    dated = []
    for _ in range(2):
        async with world.runner(), world.runner(UsageProjection(world.topics, ends)):
            await eventually(partial(_has_applied, world, 1), "the use")
        dated.append(await world.value("SELECT last_used_at FROM projector.usage_last"))
        assert (await world.verified(patience_seconds=0)).differences.listed == []
        await world.execute("DROP SCHEMA projector CASCADE")
    (record,) = await world.read(world.topics.usage)
    assert dated == [datetime.fromtimestamp(record.timestamp / 1000, UTC)] * 2


async def _has_applied(world: World, records: int) -> bool:
    return await world.uses_applied() >= records
