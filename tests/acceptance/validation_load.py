"""Many validations of one key at a steady rate, over changing connections, spread over nodes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from tests.acceptance.client import VALIDATE

CONNECTIONS = 48
#: Whoever is idle accepts a connection: only new ones get to every worker.
REQUESTS_OF_A_CONNECTION = 10


@dataclass
class Answers:
    """What came back: how often each status, and within which time."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def admitted(self) -> int:
        return self.statuses[200]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.statuses.total() / self.seconds


def validate_steadily(
    urls: Sequence[str],
    api_key: str,
    requests: int,
    requests_per_second: float,
    halfway: Callable[[], None] = lambda: None,
) -> Answers:
    """Ask so often, at this rate if the nodes keep up; `halfway` is called meanwhile, in a thread."""
    return asyncio.run(_Load(urls, api_key, requests, requests_per_second).run(halfway))


class _Load:
    def __init__(self, urls: Sequence[str], api_key: str, requests: int, requests_per_second: float) -> None:
        self._places = [urlsplit(url) for url in urls]
        self._request = (
            f"POST {VALIDATE} HTTP/1.1\r\nHost: auth.test\r\n"
            f"Authorization: Bearer {api_key}\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        self._requests = requests
        self._pause_seconds = 1 / requests_per_second
        self._asked = 0
        self._began_at = 0.0
        self._answers = Answers()

    async def run(self, halfway: Callable[[], None]) -> Answers:
        self._began_at = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._meanwhile(halfway))
            for number in range(CONNECTIONS):
                tasks.create_task(self._ask(self._places[number % len(self._places)]))
        return self._answers

    async def _meanwhile(self, halfway: Callable[[], None]) -> None:
        while self._asked < self._requests // 2:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(halfway)

    async def _ask(self, place: SplitResult) -> None:
        loop = asyncio.get_running_loop()
        while self._asked < self._requests:
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            for _ in range(min(REQUESTS_OF_A_CONNECTION, self._requests - self._asked)):
                turn_at = self._began_at + self._asked * self._pause_seconds
                self._asked += 1
                await asyncio.sleep(max(0.0, turn_at - loop.time()))
                writer.write(self._request)
                self._answers.statuses[await _status(reader)] += 1
                self._answers.seconds = loop.time() - self._began_at
            writer.close()
            await writer.wait_closed()


async def _status(reader: asyncio.StreamReader) -> int:
    """That of the next answer; the rest of it is read and forgotten."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"content-length:")
    await reader.readexactly(int(length.partition(b"\r\n")[0]))
    return int(head.split(None, 2)[1])
