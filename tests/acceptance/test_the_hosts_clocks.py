"""What the host's clocks do revives no key, on no worker: suspension, and steps in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.local.kafka import EmbeddedKafka
from tests.acceptance.client import Created
from tests.acceptance.eventually import eventually
from tests.acceptance.host_clocks import HostClocks
from tests.acceptance.stack import ApiNode, Stack

HOUR_SECONDS = 3600
WORKERS = 2
#: Each goes over a connection of its own, so that both workers are asked.
QUESTIONS = 40
SOON_SECONDS = 5.0
CAUGHT_UP_SECONDS = 30.0


@pytest.fixture
def clocks(tmp_path: Path) -> HostClocks:
    return HostClocks(tmp_path)


@pytest.fixture
def node(stack: Stack, clocks: HostClocks) -> ApiNode:
    return stack.api(workers=WORKERS, wait=True, **clocks.environment)


@pytest.fixture
def in_grace(node: ApiNode) -> Created:
    """A secret that lives for an hour more."""
    key = node.client.new_key()
    node.client.rotated(key.key_id, grace_period_hours=1)
    assert answers(node, key) == {200}
    return key


def answers(node: ApiNode, key: Created) -> set[int]:
    """What the node's workers say of the key."""
    return {node.client.validate(key.api_key).status_code for _ in range(QUESTIONS)}


def test_a_key_expires_while_its_host_is_suspended(
    node: ApiNode, clocks: HostClocks, in_grace: Created
) -> None:
    clocks.suspend(2 * HOUR_SECONDS)
    # Until it has asked the log what it has missed, a worker that has slept for hours says 503.
    assert answers(node, in_grace) <= {401, 503}
    eventually(lambda: answers(node, in_grace) == {401}, SOON_SECONDS, "answers after the suspension")


def test_a_node_that_was_suspended_is_stale_until_it_has_caught_up(
    fragile: Stack, shaken_kafka: EmbeddedKafka, clocks: HostClocks
) -> None:
    node = fragile.api(workers=WORKERS, wait=True, **clocks.environment)
    key = node.client.new_key()
    shaken_kafka.pause()
    try:
        clocks.suspend(HOUR_SECONDS)
        assert answers(node, key) == {503}
        assert node.metric("hokusai_api_staleness_seconds") > HOUR_SECONDS
    finally:
        shaken_kafka.resume()
    eventually(lambda: answers(node, key) == {200}, CAUGHT_UP_SECONDS, "the node to catch up")


def test_a_step_forward_is_followed_by_all_workers_at_once(
    node: ApiNode, clocks: HostClocks, in_grace: Created
) -> None:
    clocks.step(2 * HOUR_SECONDS)
    assert answers(node, in_grace) == {401}
    clocks.step(-2 * HOUR_SECONDS)
    assert answers(node, in_grace) == {401}
    assert node.metric("hokusai_api_clock_raised_seconds_total") == pytest.approx(7200, abs=1)
    node.says("the clock was put forward by 7200.0 s")


def test_a_worker_that_starts_after_a_step_back_agrees_with_its_siblings(
    node: ApiNode, clocks: HostClocks, in_grace: Created
) -> None:
    clocks.suspend(2 * HOUR_SECONDS)
    clocks.step(-3 * HOUR_SECONDS)
    first, second = node.worker_processes()
    first.kill()
    eventually(
        lambda: first not in node.worker_processes() and len(node.worker_processes()) == WORKERS,
        20,
        "another worker",
    )
    eventually(lambda: node.metric("hokusai_api_workers") == WORKERS, 20, "another worker to answer")
    # Now the new one is the older one.
    second.kill()
    eventually(lambda: second not in node.worker_processes(), SOON_SECONDS, "its end")
    eventually(lambda: answers(node, in_grace) == {401}, 20, "answers of the new worker")


def test_a_host_that_is_slow_goes_by_the_log_where_another_host_agrees(
    stack: Stack, clocks: HostClocks
) -> None:
    clocks.step(-9 * HOUR_SECONDS)
    slow = stack.api(workers=WORKERS, wait=True, **clocks.environment)
    other = stack.api()

    # The broker against the only host that has written anything: which of them is wrong?
    slow.client.new_key()
    assert slow.metric("hokusai_api_append_times_doubted_total") == 1
    assert slow.metric("hokusai_api_clock_raised_seconds_total") == 0

    other.client.new_key()
    eventually(lambda: slow.metric("hokusai_api_clock_ahead_seconds") > 0, SOON_SECONDS, "another clock")
    assert slow.metric("hokusai_api_clock_ahead_seconds") == pytest.approx(9 * HOUR_SECONDS, abs=1)
    slow.says("as the log says")


def test_a_wrong_year_ends_no_key(node: ApiNode, clocks: HostClocks, in_grace: Created) -> None:
    clocks.step(365 * 24 * HOUR_SECONDS)
    assert answers(node, in_grace) == {200}
    assert node.metric("hokusai_api_clock_ahead_seconds") < -360 * 24 * HOUR_SECONDS
    node.says("that is followed once it has stood for ten minutes")
