"""What a node does that is started while Kafka is away."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from events.errors import WrongLog
from services.api.directory import store_choice
from tests.builders import a_key_revoked
from tests.unit.api.a_node import (
    NodeHarness,
    active_until,
    active_until_in_a_worker,
    filled,
    is_believed,
)
from tests.unit.api.workers import append, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def node(tmp_path: Path) -> NodeHarness:
    return NodeHarness(tmp_path)


async def test_while_kafka_is_away_a_fresh_store_is_answered_from(node: NodeHarness) -> None:
    created = await filled(node)
    node.is_away = True
    node.time.pass_by(299)

    async with node.follower() as running:
        await eventually(lambda: running.freshness.is_ready)
        assert running.freshness.staleness_seconds == 299
        key_id = created.data.key_id
        assert await asyncio.to_thread(active_until_in_a_worker, node.folder, key_id) == math.inf

        await append(node.log, a_key_revoked(created))
        node.is_away = False
        await eventually(lambda: running.follower.store is not None)
        await eventually(lambda: active_until(running, created) == -math.inf)
        await eventually(lambda: running.freshness.staleness_seconds == 0)
        assert is_believed(running)


async def test_while_kafka_is_away_a_stale_store_is_not_answered_from(node: NodeHarness) -> None:
    created = await filled(node)
    node.is_away = True
    node.time.pass_by(301)

    async with node.follower() as running:
        await eventually(lambda: node.asked > 3)
        assert not running.freshness.is_ready

        await append(node.log, a_key_revoked(created))
        node.is_away = False
        await eventually(lambda: running.freshness.is_ready)
        assert active_until(running, created) == -math.inf
        assert running.freshness.staleness_seconds == 0


@pytest.mark.parametrize("why", ["first start", "start of the machine"])
async def test_while_kafka_is_away_a_node_without_a_store_answers_nothing(
    node: NodeHarness, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "start of the machine":
        await filled(node)
        (tmp_path / "boot_id").write_text("another start")
        monkeypatch.setattr(store_choice, "BOOT_ID", tmp_path / "boot_id")
    node.is_away = True

    async with node.follower() as running:
        before = node.asked
        await eventually(lambda: node.asked > before + 2)
        assert not running.freshness.is_ready

        node.is_away = False
        await eventually(lambda: running.freshness.is_ready)


async def test_a_node_that_has_answered_and_finds_another_log_ends(node: NodeHarness) -> None:
    """Its workers have the store open: no other one can take its place."""
    await filled(node)
    node.is_away = True
    async with node.follower() as running:
        await eventually(lambda: running.freshness.is_ready)
        node.cluster_id = "another one"
        node.read_models._known_log = None
        node.is_away = False

        await asyncio.wait([running.task], timeout=10)
        with pytest.raises(WrongLog, match="another log"):
            running.task.result()
