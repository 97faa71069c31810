"""Callers that mean no good, as a program: `python -m bench.adversaries URL IDLE SLOW`.

It holds idle connections and half-sent requests, and floods the server with trailers, oversized bodies and
broken requests, each flood over one connection after the other, as fast as it is refused. Prints `ready` when
all connections are open, and goes on until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

VALIDATE = b"POST /api/v1/keys/validate HTTP/1.1\r\nHost: auth.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /health HTTP/1.1\r\nHost: auth.test\r\n\r\n"
OFFER = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
#: What a flood sends over one connection, piece by piece, until it is refused.
FLOODS: dict[str, Sequence[bytes]] = {
    "trailers": [VALIDATE + CHUNKED + b"2\r\n{}\r\n0\r\n", *[b"X-Trailer: %s\r\n" % (b"x" * 4000)] * 1000],
    "oversized": [VALIDATE + CHUNKED, *[b"1000\r\n%s\r\n" % (b"x" * 4096)] * 1000],
    "broken": [b"NONSENSE / HTTP/1.1\r\n\r\n"],
    "offers": [VALIDATE + OFFER + SMUGGLED],
}
OPENED_AT_ONCE = 200
SLOW_SECONDS = 1.0
PAUSE_SECONDS = 0.02


class Adversaries:
    """What they hold open, and how often they were refused."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname, place.port
        self.refused: Counter[str] = Counter()

    async def hold_idle(self, opened: Callable[[], None]) -> None:
        """One connection that asks nothing; another one when it was closed."""
        await self._again_and_again(self._idle, opened)

    async def hold_slow(self, opened: Callable[[], None]) -> None:
        """One request that is sent a byte a second; another one when it was refused."""
        await self._again_and_again(self._slow, opened)

    async def flood(self, name: str) -> None:
        """One connection after the other, each until it is refused."""
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    for piece in FLOODS[name]:
                        writer.write(piece)
                        await writer.drain()
                    await reader.read(1)
                except ConnectionError:
                    pass
                finally:
                    writer.transport.abort()
                self.refused[name] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _again_and_again(
        self, hold: Callable[[Callable[[], None]], Awaitable[None]], opened: Callable[[], None]
    ) -> None:
        while True:
            with suppress(OSError):
                await hold(opened)
            await asyncio.sleep(SLOW_SECONDS)

    async def _idle(self, opened: Callable[[], None]) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        opened()
        await reader.read()
        writer.close()

    async def _slow(self, opened: Callable[[], None]) -> None:
        _, writer = await asyncio.open_connection(self._host, self._port)
        opened()
        for byte in VALIDATE:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(SLOW_SECONDS)
        writer.close()


async def _main(url: str, idle: int, slow: int) -> None:
    adversaries = Adversaries(url)
    waiting = asyncio.Semaphore(OPENED_AT_ONCE)
    opened: asyncio.Queue[None] = asyncio.Queue()

    def note_opened() -> None:
        opened.put_nowait(None)
        waiting.release()

    async def begin(hold: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        await waiting.acquire()
        await hold(note_opened)

    holding = [asyncio.create_task(begin(adversaries.hold_idle)) for _ in range(idle)]
    holding += [asyncio.create_task(begin(adversaries.hold_slow)) for _ in range(slow)]
    for _ in range(idle + slow):
        await opened.get()
    flooding = [asyncio.create_task(adversaries.flood(name)) for name in FLOODS]
    print("ready", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.read)
    for task in [*holding, *flooding]:
        task.cancel()
    print(json.dumps(adversaries.refused), flush=True)  # noqa: T201


if __name__ == "__main__":
    os.nice(19)  # who measures shares this core
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
