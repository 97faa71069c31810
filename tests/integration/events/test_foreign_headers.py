"""Headers that producers of other languages send."""

from __future__ import annotations

import pytest

from events.kafka_log import KafkaLogReader
from events.settings import KafkaSettings
from events.topics import Topics
from tests.raw_headers import RawName, append_with_headers

pytestmark = pytest.mark.anyio


async def test_a_header_whose_name_is_no_utf_8_stops_no_reader(
    kafka_settings: KafkaSettings, topics: Topics
) -> None:
    """The broker takes it, and aiokafka alone would raise at it again and again."""
    for headers in ([], [(RawName(), b"1"), ("other", b"2")], []):
        await append_with_headers(kafka_settings, topics.usage.name, 0, headers)
    async with KafkaLogReader(kafka_settings, topics.usage) as reader:
        await reader.begin({})
        read = [*await reader.read()]
        while len(read) < 3:
            read += await reader.read()
    assert [record.value for record in read] == [b"value"] * 3
    assert tuple(read[1].headers) == (("\ufffd\ufffd", b"1"), ("other", b"2"))
