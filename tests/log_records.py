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


class RawName(str):
    """The name of a header that no encoding gives."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"
