"""Which store a node that is started again believes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest

from events.errors import WrongLog
from services.api.directory import key_store, store_choice
from services.api.directory.key_store import KeyStore
from services.api.directory.stored_facts import VERSION
from services.api.errors import StoreUnavailable
from tests.builders import a_key_created, a_key_revoked, lifecycle_record
from tests.unit.api.a_node import (
    NodeHarness,
    active_until,
    filled,
    is_believed,
)
from tests.unit.api.workers import append, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def node(tmp_path: Path) -> NodeHarness:
    return NodeHarness(tmp_path)


async def test_a_store_is_used_again_and_only_what_came_since_is_read(node: NodeHarness) -> None:
    created = await filled(node)
    await append(node.log, a_key_revoked(created))

    async with node.started() as running:
        assert is_believed(running)
        assert running.directory.facts(created.data.key_id) is not None
        assert active_until(running, created) == -math.inf
        assert node.read_models.fills == 0
        assert node.metric(running, "events_applied_total") == 1


@pytest.mark.parametrize(
    "what",
    ["cluster", "topic", "version", "start of the machine", "cut off", "longer than the log", "damaged"],
)
async def test_a_store_that_is_not_of_this_log_version_and_boot_is_filled_anew(
    node: NodeHarness, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await filled(node)
    other = a_key_created()
    if what == "cluster":
        node.be_another_cluster("another one")
    elif what == "topic":
        node.environment["KAFKA_TOPIC_PREFIX"] = "other."
    elif what == "version":
        store = KeyStore(node.folder, readonly=False)
        identity = store.identity()
        assert identity is not None
        store.begin_to_fill(replace(identity, version=VERSION + 1), frozenset())
        store.close()
    elif what == "start of the machine":
        (tmp_path / "boot_id").write_text("another start")
        monkeypatch.setattr(store_choice, "BOOT_ID", tmp_path / "boot_id")
    elif what == "cut off":
        store = KeyStore(node.folder, readonly=False)
        store.write(lambda transaction: transaction.delete(b"filled", db=store._meta))
        store.close()
    elif what == "longer than the log":
        node.be_another_cluster(node.cluster_id)
    else:
        (node.folder / key_store.FOLDER / "data.mdb").write_bytes(b"no database" * 1000)
    prefix = node.environment.get("KAFKA_TOPIC_PREFIX", "")
    record = lifecycle_record(other)
    await node.log.append(f"{prefix}keys.lifecycle", record.key, record.value)

    async with node.started() as running:
        assert not is_believed(running)
        assert other.data.key_id in running.directory
        assert node.read_models.fills == 1
    async with node.started() as running:
        assert node.read_models.fills == 0, "the new one is believed"


async def test_a_snapshot_that_breaks_off_leaves_nothing_behind(node: NodeHarness) -> None:
    """What it had of the log is read from the log."""
    created = a_key_created()
    await append(node.log, created)
    async with node.follower() as running:
        node.read_models.breaks_off = True
        await eventually(lambda: running.freshness.is_ready)

        assert created.data.key_id in running.directory
        assert node.metric(running, "events_applied_total") == 1
        assert running.store.positions() == await node.reader.end_offsets()


async def test_other_own_peppers_than_before_find_other_keys(node: NodeHarness) -> None:
    async with node.started() as running:
        (own,) = running.follower._fingerprints.known_ids
    created = a_key_created(pepper_id=own)
    await append(node.log, created)
    async with node.started() as running:
        assert running.directory.find(bytes.fromhex(created.data.fingerprint)) is not None

    node.environment["KEY_PEPPERS"] = "2027:another pepper of many characters"
    async with node.started() as running:
        assert running.directory.find(bytes.fromhex(created.data.fingerprint)) is None
        assert node.metric(running, "unverifiable_keys") == 1
        assert own in running.directory.declared_peppers()
    del node.environment["KEY_PEPPERS"]
    async with node.started() as running:
        assert running.directory.find(bytes.fromhex(created.data.fingerprint)) is not None


async def test_a_follower_that_is_started_again_beside_its_workers_goes_on(node: NodeHarness) -> None:
    created = await filled(node)
    async with node.started():
        pass
    await append(node.log, a_key_revoked(created))

    async with node.follower(may_fill=False) as running:
        await eventually(lambda: running.follower.store is not None)
        await eventually(lambda: active_until(running, created) == -math.inf)
        assert is_believed(running)


@pytest.mark.parametrize("what", ["cut off", "damaged"])
async def test_a_follower_that_is_started_again_never_takes_the_store_away_from_its_workers(
    node: NodeHarness, what: str
) -> None:
    await filled(node)
    data = node.folder / key_store.FOLDER / "data.mdb"
    if what == "damaged":
        data.write_bytes(b"no database" * 1000)
    else:
        store = KeyStore(node.folder, readonly=False)
        store.write(lambda transaction: transaction.delete(b"filled", db=store._meta))
        store.close()
    before = data.read_bytes()

    async with node.follower(may_fill=False) as running:
        await asyncio.wait([running.task], timeout=10)
        with pytest.raises((WrongLog, StoreUnavailable)):
            running.task.result()
    assert data.read_bytes() == before


async def test_a_store_is_not_believed_where_other_records_stand_in_the_log_now(node: NodeHarness) -> None:
    """It has lost its tail and has grown beyond the store's offsets again, or was restored otherwise."""
    await filled(node)
    created, other = a_key_created(), a_key_created()
    node.be_another_cluster(node.cluster_id)
    for _ in range(3):
        await append(node.log, created, a_key_revoked(created), other)

    async with node.started() as running:
        assert not is_believed(running)
        assert active_until(running, created) == -math.inf
