"""Workers of a node answer from a store that its follower writes: whoever dies, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.eventually import eventually
from tests.acceptance.fresh_stack import fresh_stack
from tests.acceptance.stack import ApiNode, Stack

LIMIT = 100
STAYS_AWAY_SECONDS = 20.0


@pytest.fixture
def fragile(
    shaken_kafka: EmbeddedKafka, shaken_postgres: EmbeddedPostgres, tmp_path: Path
) -> Iterator[Stack]:
    """A stack on a Kafka that the test may stop; it runs again afterwards."""
    with fresh_stack(shaken_kafka, shaken_postgres, tmp_path) as stack:
        yield stack
        stack.kill()
        shaken_kafka.start()
        shaken_kafka.wait_ready()


def admitted(node: ApiNode, api_key: str, requests: int) -> int:
    """How many of so many requests pass."""
    return sum(node.client.validate(api_key).status_code == 200 for _ in range(requests))


def test_a_killed_follower_holds_up_no_validation_and_the_next_one_goes_on(stack: Stack) -> None:
    node = stack.api(workers=2)
    key = node.client.new_key()
    for _ in range(3):
        node.follower_process().kill()
        assert node.client.accepts(key.api_key)
        rotated = node.client.rotated(key.key_id)  # answered by the next one
        assert [node.client.accepts(each.api_key) for each in (key, rotated)] == [False, True]
        key = rotated
    assert node.client.revoke(key.key_id).status_code == 200
    assert not node.client.accepts(key.api_key)
    assert node.is_running


def test_nothing_is_refunded_when_workers_the_follower_and_the_whole_node_are_killed(
    stack: Stack, tmp_path: Path
) -> None:
    folder = str(tmp_path / "node")
    node = stack.api(workers=2, NODE_FOLDER=folder)
    key = node.client.new_key(rate_limit_per_hour=LIMIT)
    assert admitted(node, key.api_key, 40) == 40
    for worker in node.worker_processes():
        worker.kill()
    node.follower_process().kill()
    node.wait_ready()
    assert admitted(node, key.api_key, 20) == 20

    node.kill()
    node.start()
    node.wait_ready()

    assert admitted(node, key.api_key, LIMIT) == LIMIT - 60


def test_a_node_that_is_started_without_kafka_answers_from_its_store(
    fragile: Stack, shaken_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    node = fragile.api(workers=2, NODE_FOLDER=str(tmp_path / "node"))
    key, dead = node.client.new_key(), node.client.new_key()
    assert node.client.revoke(dead.key_id).status_code == 200
    node.stop()
    shaken_kafka.kill()

    node.start()
    node.wait_ready()

    assert [node.client.accepts(each.api_key) for each in (key, dead)] == [True, False]
    assert node.client.get("/ready").json()["checks"]["kafka"] is False
    assert node.client.create().status_code == 503
    shaken_kafka.start()
    eventually(lambda: node.client.create().status_code == 201, STAYS_AWAY_SECONDS, "the log to be back")
    assert node.client.revoke(key.key_id).status_code == 200
    assert not node.client.accepts(key.api_key)


def test_a_store_that_is_too_old_is_not_answered_from(
    fragile: Stack, shaken_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Staleness goes on through the restart."""
    node = fragile.api(NODE_FOLDER=str(tmp_path / "node"), MAX_STALENESS_SECONDS="2")
    key = node.client.new_key()
    shaken_kafka.kill()
    eventually(lambda: node.client.validate(key.api_key).status_code == 503, STAYS_AWAY_SECONDS, "staleness")
    node.stop()

    node.start()
    node.says("waiting for Kafka")
    assert not node.is_ready()

    shaken_kafka.start()
    node.wait_ready()
    assert node.client.accepts(key.api_key)


def test_two_nodes_in_one_folder_are_refused(stack: Stack, tmp_path: Path) -> None:
    folder = str(tmp_path / "node")
    stack.api(NODE_FOLDER=folder)
    second = stack.api(wait=False, NODE_FOLDER=folder)
    assert second.wait_exit() == 2
    assert "another node is at work" in second.last_words()
