"""Creating a key."""

from __future__ import annotations

from datetime import timedelta

import bcrypt
import pytest

from events.keys import KeyCreated
from events.memory_log import MemoryLog
from services.api.verdict import Verdict
from tests.unit.api.commands.worlds import NOW
from tests.unit.api.workers import ADMIN, SETTINGS, Worker, events_in

pytestmark = pytest.mark.anyio


async def test_a_created_key_passes_at_once(worker: Worker) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)

    assert await worker.validate(issue.secret) is Verdict.VALID


async def test_creating_appends_one_event_that_says_who_asked(worker: Worker, log: MemoryLog) -> None:
    settings = SETTINGS._replace(scopes=("train",), allowed_ips=("10.0.0.0/8",), lifetime_days=30)

    issue = await worker.commands.create(settings, ADMIN)

    (event,) = await events_in(log)
    assert isinstance(event, KeyCreated)
    assert (event.actor, event.correlationid, event.sequence, event.time) == ("admin", "request-1", 1, NOW)
    assert event.subject == event.partitionkey == event.data.key_id == issue.key.key_id
    assert event.data.scopes == ("train",)
    assert event.data.expires_at == NOW + timedelta(days=30)
    assert issue.key.settings == settings


async def test_only_hashes_of_the_secret_are_stored(worker: Worker, log: MemoryLog) -> None:
    issue = await worker.commands.create(SETTINGS, ADMIN)

    (event,) = await events_in(log)
    assert isinstance(event, KeyCreated)
    assert bcrypt.checkpw(issue.secret.encode(), event.data.bcrypt_hash.encode())
    assert event.data.fingerprint == worker.fingerprints.newest(issue.secret.encode()).hex()
    assert issue.secret not in event.model_dump_json() + repr(event) + repr(issue) + repr(issue.key)
    assert event.data.key_prefix == issue.secret[:11] + "***"


@pytest.mark.parametrize(
    ("environment", "mark"),
    [("production", "hk_live_"), ("test", "hk_test_"), ("development", "hk_dev_")],
)
async def test_the_environment_is_part_of_the_key(worker: Worker, environment: str, mark: str) -> None:
    settings = SETTINGS._replace(environment=environment)  # type: ignore[arg-type]

    assert (await worker.commands.create(settings, ADMIN)).secret.startswith(mark)
