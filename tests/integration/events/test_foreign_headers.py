"""Headers that producers of other languages send."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy  # type: ignore[import-untyped]

from events.kafka_log import KafkaLogReader
from events.settings import KafkaSettings
from events.topics import Topics
from tests.log_records import RawName

pytestmark = pytest.mark.anyio


async def test_a_header_whose_name_is_no_utf_8_stops_no_reader(
    kafka_settings: KafkaSettings, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker takes it, and aiokafka alone would raise at it again and again."""
    for module in ("message_accumulator", "producer"):  # the builder in C takes nothing but str
        builder = f"aiokafka.producer.{module}.DefaultRecordBatchBuilder"
        monkeypatch.setattr(builder, _DefaultRecordBatchBuilderPy)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_settings.bootstrap_servers)
    await producer.start()
    try:
        for headers in ([], [(RawName(), b"1"), ("other", b"2")], []):
            await producer.send_and_wait(topics.usage.name, b"value", b"key", headers=headers)
    finally:
        await producer.stop()
    async with KafkaLogReader(kafka_settings, topics.usage) as reader:
        await reader.begin({})
        read = [*await reader.read()]
        while len(read) < 3:
            read += await reader.read()
    assert [record.value for record in read] == [b"value"] * 3
    assert tuple(read[1].headers) == (("\ufffd\ufffd", b"1"), ("other", b"2"))
