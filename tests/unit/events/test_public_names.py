"""What emitters and auditors import stays where it is, and the example they begin with works."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import events
from events.codec import encode
from events.lineage import Lineage
from events.memory_log import MemoryLog, MemoryLogReader
from events.topics import Topic, Topics
from tests.builders import a_key_created, a_key_revoked, a_key_rotated

PROMISED = {
    "facts": "Event IssuedKey KeyCreated KeyEvent KeyRefingerprinted KeyRevoked KeyRotated KeyUsed "
    "Refingerprinting Revocation Rotation Usage",
    "totals": "HourlyTotals HourlyUsage PublishedUsage RevisionsPart Statement StatementClosed StatementLine "
    "StatementRevisions Total UsagePublished WindowCount",
    "bytes": "decode decode_total encode",
    "meaning": "Key KeySettings Lineage apply fold read_event",
    "outcomes": "Applied Folded Ignored Outcome Parked Unreadable",
    "log": "DeadLetter EventLog KafkaEventLog KafkaLogReader LogReader MemoryLog Position Record",
    "emitting": "UsageEmitter",
    "topics": "KafkaSettings LogIdentity Topic Topics apply_topics check_log compare_topics",
    "errors": "EventsError LogUnavailable SettingsError TopicMismatch UnreadableRecord UsageNotDelivered "
    "WrongLog",
}


def test_the_public_names_are_those_that_were_promised() -> None:
    promised = sorted(name for names in PROMISED.values() for name in names.split())
    assert sorted(events.__all__) == promised


def test_every_public_name_is_there_and_comes_from_this_package() -> None:
    for name in events.__all__:
        public = getattr(events, name)
        if inspect.isclass(public) or inspect.isfunction(public):
            assert public.__module__.startswith("events.")
            assert public.__doc__, f"{name} is public and says nothing about itself"


def test_importing_the_package_brings_no_database_driver_and_no_web_framework() -> None:
    probe = "import sys, events; print('psycopg' in sys.modules, 'fastapi' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


@pytest.mark.anyio
async def test_the_example_of_the_package_replays_the_log() -> None:
    topics, log = Topics(), MemoryLog()
    first, second = a_key_created(), a_key_created()
    rotated = a_key_rotated(first)
    for event in (first, second, rotated, a_key_revoked(second)):
        await log.append(topics.lifecycle.name, event.partitionkey.encode(), encode(event))

    @asynccontextmanager
    async def opened(kafka: object, topic: Topic) -> AsyncIterator[MemoryLogReader]:
        yield log.reader(topic)

    lineages = await _example(KafkaLogReader=opened)(None, topics)
    assert {lineage.lineage_id: lineage.sequence for lineage in lineages.values()} == {
        first.subject: 2,
        second.subject: 2,
    }
    assert lineages[first.subject].current.key_id == rotated.data.new_key.key_id
    assert lineages[second.subject].current.revoked_at is not None


def _example(**replaced: Any) -> Callable[[None, Topics], Awaitable[dict[str, Lineage]]]:
    """The function in the docstring of the package, over public names alone."""
    lines = [line for line in (events.__doc__ or "").splitlines() if line.startswith("    ")]
    names = {name: getattr(events, name) for name in events.__all__} | replaced
    exec(textwrap.dedent("\n".join(lines)), names)
    replay: Callable[[None, Topics], Awaitable[dict[str, Lineage]]] = names["replay"]
    return replay
