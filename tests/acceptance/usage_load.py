"""Use of many keys, sent as services send it: over HTTP with few connections, and straight to Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import orjson

from events.emitter import UsageEmitter
from events.settings import KafkaSettings
from events.topics import Topics
from events.usage import Usage

CONNECTIONS = 48
RETRY_SECONDS = 0.1
ANSWER_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Use:
    """One use; its id is what makes it one, however often it is sent. HTTP knows no other time than now."""

    event_id: str
    time: datetime
    usage: Usage


async def emit(kafka: KafkaSettings, topics: Topics, uses: Iterable[Use]) -> None:
    """Send them straight to Kafka; returns once all are acknowledged."""
    async with UsageEmitter(
        kafka, topics, source="urn:hokusai:load", actor="load", close_seconds=120
    ) as emitter:
        for use in uses:
            await emitter.emit(use.usage, id=use.event_id, time=use.time)


async def post(url: str, uses: Sequence[Use]) -> None:
    """Send them over HTTP, each again and again until it was answered 200."""
    waiting = iter(uses)
    async with asyncio.TaskGroup() as clients:
        for _ in range(CONNECTIONS):
            clients.create_task(_Connection(url).post_all(waiting))


class _Connection:
    """A keep-alive connection; where it breaks, another one."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname, address.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post_all(self, waiting: Iterable[Use]) -> None:
        for use in waiting:
            while not await self._posted(use):
                await asyncio.sleep(RETRY_SECONDS)
        self._close()

    async def _posted(self, use: Use) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await self._ask(_request(use))
        except (OSError, EOFError, TimeoutError):
            self._close()
            return False
        assert status in (200, 503), status
        return status == 200

    async def _ask(self, request: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        if b"connection: close" in lines:
            self._close()
        return int(head.split(None, 2)[1])

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _request(use: Use) -> bytes:
    body = orjson.dumps(use.usage.model_dump(exclude={"key_id"}))
    return (
        f"POST /api/v1/usage/{use.usage.key_id} HTTP/1.1\r\nHost: load\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {use.event_id}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
