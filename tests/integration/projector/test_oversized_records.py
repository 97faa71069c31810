"""Records that unpack to more than anybody has reason to send, through the real broker."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]

from events.kafka_decompression import LARGEST_UNPACKED_BYTES
from tests.builders import a_key_created, some_usage
from tests.integration.projector.world import ProjectorProcess, World, eventually
from tests.log_records import headers_of

pytestmark = pytest.mark.anyio

#: What they unpack to. Snappy packs 1 MB at most to a twentieth, so that its bombs are smaller.
BOMBS = dict.fromkeys(("gzip", "lz4", "zstd"), LARGEST_UNPACKED_BYTES * 3 // 2) | {"snappy": 20_000_000}


async def test_what_unpacks_to_hundreds_of_megabytes_is_passed_told_and_takes_no_memory(world: World) -> None:
    key = a_key_created()
    await world.append([key])
    process = world.projector()
    await eventually(partial(world.has_applied, 1), "the projector to be at work")
    before = _peak_memory(process)
    for codec, size in BOMBS.items():
        for topic in (world.topics.usage.name, world.topics.lifecycle.name):
            await _append_compressed(world, codec, topic, bytes(size))
    await world.append_usage([some_usage(key_id=key.subject)])
    await world.append([a_key_created()])
    await eventually(partial(world.has_applied, 2 + 2 * len(BOMBS) + 1), "all records", 60)
    assert _peak_memory(process) - before < 200_000_000
    assert await world.value("SELECT sum(requests)::int FROM projector.usage_hour") == 1
    assert await world.value("SELECT count(*)::int FROM projector.keys") == 2
    for dead_letters in (world.topics.usage_dead_letters, world.topics.lifecycle_dead_letters):
        letters = await world.read(dead_letters)
        assert len(letters) == len(BOMBS)
        assert all("when unpacked" in headers_of(letter)["error"] for letter in letters)
        assert all(letter.value is None for letter in letters)
    assert process.metric("projector_dead_letters_total") == 2 * len(BOMBS)
    assert (await world.verified()).problems == []


async def _append_compressed(world: World, codec: str, topic: str, value: bytes) -> None:
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=world.kafka.bootstrap_servers,
        compression_type=codec,
        max_request_size=2**31 - 1,
        max_batch_size=2**31 - 1,
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


def _peak_memory(process: ProjectorProcess) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
