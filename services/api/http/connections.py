"""How many connections a worker holds, how long each may take, and who gives way when there are too many."""

from __future__ import annotations

import heapq
import logging
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)

#: Descriptors of a worker that are no connections of callers: logs, Kafka, Postgres, the node's memory.
RESERVED_DESCRIPTORS = 256
#: More than this would serve nobody, and some kernels answer "unlimited" with a number in the billions.
MOST_DESCRIPTORS = 131_072
#: Room is made for many at once, since finding out who gives way means looking at all.
BATCH_SHARE = 20


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of one worker. A request has `head_seconds` from its first byte, and `body_seconds` after its head.

    Between requests a connection may be quiet for `keep_alive_seconds`: longer than the 60 s after which most
    proxies close theirs, so that they never send into one that is just being closed here.
    """

    connections: int = 16_384
    keep_alive_seconds: float = 75.0
    head_seconds: float = 10.0
    body_seconds: float = 20.0


DEFAULT_LIMITS = ConnectionLimits()


class Connection(Protocol):
    """What has to be known of a connection to choose who gives way. Times are those of the event loop."""

    @property
    def quiet_since(self) -> float | None:
        """Since when nothing was asked; None while a request is read or answered."""
        ...

    @property
    def late_at(self) -> float | None:
        """By when the request that is being read has to be here; None where none is."""
        ...

    @property
    def has_asked(self) -> bool:
        """Whether there was ever a request."""
        ...

    def abort(self) -> None:
        """End it at once."""
        ...


def make_room(connections: Iterable[Connection], limit: int) -> int:
    """Close connections that cost their callers least; how many were closed.

    Those that have never asked anything go first, then those that have been quiet for longest. Where all are
    busy, those go whose request has been on its way for longest. Nobody loses an answer that is being made.
    """
    batch = max(1, limit // BATCH_SHARE)
    quiet = [(other.has_asked, since, other) for other in connections if (since := other.quiet_since)]
    leaving = [other for *_, other in heapq.nsmallest(batch, quiet, key=lambda found: found[:2])]
    if not leaving:
        late = [(at, other) for other in connections if (at := other.late_at)]
        leaving = [other for _, other in heapq.nsmallest(batch, late, key=lambda found: found[0])]
    for other in leaving:
        other.abort()
    if leaving:
        logger.warning("more than %d connections: closed %d that were waiting", limit, len(leaving))
    return len(leaving)


def raise_descriptor_limit() -> int:
    """Let this process and its children have as many descriptors as the system allows; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def connections_within(descriptors: int, wanted: int) -> int:
    """As many connections as are wanted, as long as a worker keeps descriptors for everything else."""
    return max(1, min(wanted, descriptors - RESERVED_DESCRIPTORS))
