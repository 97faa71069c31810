"""A client that keeps one connection to one worker and knows when each answer came."""

from __future__ import annotations

import asyncio
import http.client
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from bench.load import Request, WrongAnswers
from bench.servers import ADMIN_TOKEN, BenchService
from services.local.ports import LOOPBACK

BURST = 16
BURSTS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer; moments by the monotonic clock, in seconds."""

    sent_at: float
    answered_at: float
    status: int


class Probe:
    """One kept connection."""

    def __init__(self, server: BenchService) -> None:
        self._server = server
        self._host = urlsplit(server.url).netloc

    async def ask(self, request: Request) -> Asked:
        sent_at = time.monotonic()
        self._writer.write(request.raw(self._host))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        return Asked(sent_at, time.monotonic(), int(head[9:12]))

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(LOOPBACK, self._server.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    @property
    def port(self) -> int:
        """The port at this end."""
        return int(self._writer.get_extra_info("sockname")[1])


async def meet_every_worker(
    opened: AsyncExitStack, server: BenchService, workers: int, ping: Request
) -> list[Probe]:
    """A probe for each worker: more would only queue up in the same event loop.

    Which worker takes a connection is up to the system, so many are opened at once, until each has one.
    """
    met: dict[int, Probe] = {}
    for _ in range(BURSTS):
        probes = [Probe(server) for _ in range(BURST)]
        await asyncio.gather(*(opened.enter_async_context(probe) for probe in probes))
        await asyncio.gather(*(probe.ask(ping) for probe in probes))
        owners = {
            connection.raddr.port: process.pid
            for process in server.workers()
            for connection in process.net_connections("tcp")
            if connection.raddr
        }
        met |= {owners[probe.port]: probe for probe in probes}
        if len(met) == workers:
            return list(met.values())
    raise RuntimeError(f"only {len(met)} workers of {server.name} have ever taken a connection")


@dataclass(frozen=True, slots=True)
class Revoked:
    """When DELETE was sent and answered, by the monotonic clock in seconds."""

    sent_at: float
    answered_at: float

    @property
    def took_ms(self) -> float:
        return (self.answered_at - self.sent_at) * 1000


def revoke(server: BenchService, key_id: str) -> Revoked:
    """Revoke a key. Blocks; raises `WrongAnswers` unless it is revoked."""
    sent_at = time.monotonic()
    status, body = admin(server, "DELETE", f"/api/v1/keys/{key_id}")
    answered_at = time.monotonic()
    if status != http.HTTPStatus.OK:
        raise WrongAnswers(f"DELETE answered {status} {body}")
    return Revoked(sent_at, answered_at)


def admin(server: BenchService, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """An admin's request: status and body. Blocks."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
