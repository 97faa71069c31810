"""The programs in examples/ run as they stand."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from events.codec import decode, encode
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.settings import KafkaSettings
from events.topics import Topics
from tests.builders import fresh_id
from tests.totals import some_hourly_usage

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[3] / "examples"
PATIENCE_SECONDS = 20


@pytest.fixture
def environment(kafka_settings: KafkaSettings, topics: Topics) -> Mapping[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": topics.prefix,
    }


async def test_use_is_emitted(
    kafka_settings: KafkaSettings, topics: Topics, environment: Mapping[str, str]
) -> None:
    key_id = fresh_id()
    async with running("emit_usage.py", key_id, environment=environment) as program:
        told, errors = await asyncio.wait_for(program.communicate(), PATIENCE_SECONDS)
    assert (program.returncode, errors) == (0, b"")
    async with KafkaLogReader(kafka_settings, topics.usage) as reader:
        await reader.begin({})
        records = [*await reader.read()]
        while reader.positions() != await reader.end_offsets():
            records += await reader.read()
    events = [decode(record.value) for record in records]
    assert told.decode().splitlines() == [*(f"emitted {event.id}" for event in events), "3 acknowledged"]
    assert {event.subject for event in events} == {key_id}


async def test_hourly_totals_are_followed_and_the_highest_revision_wins(
    kafka_settings: KafkaSettings, topics: Topics, environment: Mapping[str, str]
) -> None:
    key_id = fresh_id()

    async def announce(log: KafkaEventLog, revision: int) -> None:
        event = some_hourly_usage(key_id=key_id, revision=revision)
        await log.append(topics.hourly_usage.name, event.partitionkey.encode(), encode(event))

    async def next_line() -> tuple[str, Any]:
        assert program.stdout is not None
        line = await asyncio.wait_for(program.stdout.readline(), PATIENCE_SECONDS)
        row, _, sums = line.decode().partition(" ")
        return row, json.loads(sums)["revision"]

    row = f"{key_id}/2026-01-31T23"
    async with KafkaEventLog(kafka_settings) as log:
        for revision in (2, 5, 4, 5):
            await announce(log, revision)
        async with running("hourly_totals.py", environment=environment) as program:
            assert [await next_line(), await next_line()] == [(row, 2), (row, 5)]
            for revision in (3, 6):
                await announce(log, revision)
            assert await next_line() == (row, 6)


@asynccontextmanager
async def running(name: str, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[Process]:
    program = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / name, *arguments, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()
