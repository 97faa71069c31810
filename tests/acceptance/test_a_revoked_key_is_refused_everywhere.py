"""A revocation reaches every reader, whatever dies after it is in the log."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from events.keys import KeyRevoked
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ApiNode, Stack
from tests.acceptance.the_log import folded, postgres_agrees

OTHER_NODES_SECONDS = 5.0


def test_a_revoked_key_is_refused_on_every_node(
    node: ApiNode, other_node: ApiNode, node_of_four: ApiNode
) -> None:
    key = node.client.new_key()
    others = (other_node.client, node_of_four.client)
    eventually(
        lambda: all(client.accepts(key.api_key) for client in others), OTHER_NODES_SECONDS, "other nodes"
    )
    node.client.revoke(key.key_id)
    eventually(
        lambda: not any(client.accepts(key.api_key) for client in others), OTHER_NODES_SECONDS, "other nodes"
    )


def test_other_nodes_follow_within_milliseconds(node: ApiNode, other_node: ApiNode) -> None:
    def seconds_to_follow() -> float:
        """From the answer to the revocation; the question that found the key refused is in it."""
        key = node.client.new_key()
        eventually(lambda: other_node.client.accepts(key.api_key), OTHER_NODES_SECONDS, "the other node")
        node.client.revoke(key.key_id)
        answered = time.monotonic()
        while other_node.client.accepts(key.api_key):
            assert time.monotonic() - answered < OTHER_NODES_SECONDS
        return time.monotonic() - answered

    measured = sorted(seconds_to_follow() for _ in range(50))
    assert statistics.median(measured) < 0.1, measured


def test_a_node_killed_after_its_append_has_revoked(stack: Stack) -> None:
    """The killed node never answered, so nobody was told; the log has the event, so it counts."""
    stack.projector()
    witness, dying = stack.api(), stack.api(workers=2)
    key = dying.client.new_key()
    eventually(lambda: witness.client.accepts(key.api_key), OTHER_NODES_SECONDS, "the other node")

    # A follower that is stopped never applies the event, so the node cannot answer before it is killed.
    _stop(dying.follower_process())
    with ThreadPoolExecutor(1) as pool:
        revocation = pool.submit(dying.client.revoke, key.key_id)
        eventually(lambda: _revocations(stack) == [key.key_id], OTHER_NODES_SECONDS, "the event in the log")
        assert not revocation.done()
        dying.kill()
        with pytest.raises(httpx.TransportError):
            revocation.result()

    eventually(lambda: not witness.client.accepts(key.api_key), OTHER_NODES_SECONDS, "the other node")
    assert not stack.api().client.accepts(key.api_key)
    postgres_agrees(stack)


def test_a_killed_node_comes_back_with_all_its_keys(stack: Stack) -> None:
    stack.projector()
    node = stack.api()
    kept, revoked = node.client.new_key(), node.client.new_key()
    node.client.revoke(revoked.key_id)
    node.kill()
    node.start()
    node.wait_ready()
    assert node.client.accepts(kept.api_key)
    assert not node.client.accepts(revoked.api_key)


def _stop(worker: psutil.Process) -> None:
    """SIGSTOP; returns once the process stands still, which is later than `kill` returns."""
    worker.suspend()
    eventually(lambda: worker.status() == psutil.STATUS_STOPPED, OTHER_NODES_SECONDS, "it to stop")


def _revocations(stack: Stack) -> list[str]:
    _, outcomes = folded(stack)
    return [outcome.event.data.key_id for outcome in outcomes if isinstance(outcome.event, KeyRevoked)]
