"""What a topic holds."""

from __future__ import annotations

from events.kafka_log import KafkaLogReader
from events.log import Record
from events.log_reading import read_through
from events.settings import KafkaSettings
from events.topics import Topic


async def everything(kafka: KafkaSettings, topic: Topic) -> list[Record]:
    """All records of a topic as it is now, in the order of each partition."""
    async with KafkaLogReader(kafka, topic) as reader:
        ends = await reader.end_offsets()
        return [record async for records in read_through(reader, ends) for record in records]


def headers_of(letter: Record) -> dict[str, str]:
    """The headers of a dead letter, which are text."""
    return {name: value.decode() for name, value in letter.headers}


def place_of(letter: Record) -> tuple[str, int, int]:
    """Which record a dead letter is about: topic, partition and offset."""
    headers = headers_of(letter)
    return headers["topic"], int(headers["partition"]), int(headers["offset"])
