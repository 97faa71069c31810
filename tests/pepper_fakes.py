"""Peppers over a log in memory: those of a node, and those that other nodes have declared."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext

from events.codec import encode
from events.log import LogReader
from events.memory_log import MemoryLog
from events.peppers import ConfiguredPepper, PepperConfigured
from events.topics import Topic, Topics
from services.api.validation.known_peppers import KnownPeppers

PEPPERS: Topic = Topics.from_environment({}).peppers

#: Fast enough for a test to wait for both.
PAUSE_SECONDS, AGAIN_SECONDS = 0.02, 0.1


def known_peppers(log: MemoryLog, own: Collection[str] = (), reader: LogReader | None = None) -> KnownPeppers:
    """Those of a node that has not read the topic yet."""
    return KnownPeppers(
        own,
        lambda: nullcontext(reader or log.reader(PEPPERS)),
        log,
        PEPPERS.name,
        "urn:hokusai:test",
        pause_seconds=PAUSE_SECONDS,
        again_seconds=AGAIN_SECONDS,
    )


def declaration(pepper_id: str) -> PepperConfigured:
    """What a node writes that is started with this pepper."""
    return PepperConfigured(
        source="urn:hokusai:api",
        subject=pepper_id,
        partitionkey=pepper_id,
        data=ConfiguredPepper(pepper_id=pepper_id),
    )


async def declare(log: MemoryLog, *pepper_ids: str) -> None:
    """As another node does that is started with them."""
    for pepper_id in pepper_ids:
        await log.append(PEPPERS.name, pepper_id.encode(), encode(declaration(pepper_id)))
