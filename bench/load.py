"""The port of load generators: what they send, what must come back, and what they have measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class WrongAnswers(Exception):
    """The server answered something else than it should: its speed does not matter."""


@dataclass(frozen=True, slots=True)
class Request:
    """A POST with a JSON body."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def raw(self, host: str) -> bytes:
        """As it goes over the wire."""
        headers = {
            "Host": host,
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body)),
            **self.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + self.body


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests that are sent in this order, over and over.

    Every answer must have one of the statuses, and its body must hold the text of that status.
    """

    requests: Sequence[Request]
    answers: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Load:
    """How hard: connections that each send their next request once the last is answered.

    `pause_ms`: the mean of what each waits in between, so that servers can be compared at one rate.
    """

    connections: int
    seconds: float
    pause_ms: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it. Latencies in microseconds by percentile: 50, 90, 99, 99.9.

    `generator_busy`: the share of a core that the generator has used; near 1 the figures are its own.
    """

    requests: int
    seconds: float
    statuses: Mapping[int, int]
    wrong: int
    errors: int
    latency_us: Mapping[float, float] = field(default_factory=dict)
    generator_busy: float = 0.0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def right(self, *, may_lose: bool = False) -> Measured:
        """Itself; raises `WrongAnswers` unless every answer was what it should be.

        `may_lose`: who was killed has answered nothing, and broken connections are no errors.
        """
        if self.wrong or not self.requests or (self.errors and not may_lose):
            raise WrongAnswers(
                f"{self.wrong} wrong answers and {self.errors} errors among {self.requests} "
                f"requests; statuses: {dict(self.statuses)}"
            )
        return self


class Generator(Protocol):
    """Sends traffic to a server, from cores that the caller has chosen for this process."""

    @property
    def name(self) -> str: ...

    def run(self, url: str, traffic: Traffic, load: Load) -> Measured:
        """Until the time is over."""
        ...

    def run_together(self, pairs: Sequence[tuple[str, Traffic]], load: Load) -> list[Measured]:
        """Each traffic to its URL over connections of its own, all at the same time."""
        ...


def read_measured(output: str, cpu_seconds: float) -> Measured:
    """What a generator has printed: its last line is JSON, with the names of `Measured`."""
    found = json.loads(output.strip().rpartition("\n")[2])
    return Measured(
        requests=int(found["requests"]),
        seconds=float(found["seconds"]),
        statuses={int(status): int(count) for status, count in found["statuses"].items()},
        wrong=int(found["wrong"]),
        errors=int(found["errors"]),
        latency_us={float(percent): float(us) for percent, us in found["latency_us"].items()},
        generator_busy=cpu_seconds / float(found["seconds"]),
    )
