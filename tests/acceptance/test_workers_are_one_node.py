"""Several workers are one node: one set of metrics, one start, one end."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
import pytest

from services.local.ports import is_free
from tests.acceptance.client import Created
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ApiNode, Stack

VALIDATIONS = "hokusai_api_validations_total"
WORKERS = 4
STOP_SECONDS = 10.0


def test_metrics_are_those_of_all_workers_whoever_is_asked(node_of_four: ApiNode) -> None:
    key = node_of_four.client.new_key()
    before = node_of_four.metric(VALIDATIONS, verdict="valid")
    validate_often(node_of_four, key, 100)
    assert {node_of_four.metric(VALIDATIONS, verdict="valid") for _ in range(8)} == {before + 100}
    assert {node_of_four.metric("hokusai_api_workers") for _ in range(8)} == {WORKERS}


def test_a_killed_worker_is_replaced_and_its_counts_stay(stack: Stack) -> None:
    node = stack.api(workers=WORKERS)
    key = node.client.new_key()
    validate_often(node, key, 100)
    victims = node.worker_processes()
    assert len(victims) == WORKERS
    victims[0].kill()
    eventually(lambda: victims[0] not in node.worker_processes(), STOP_SECONDS, "its end")
    assert eventually(lambda: node.metric(VALIDATIONS, verdict="valid"), 5, "metrics") == 100
    eventually(lambda: node.metric("hokusai_api_workers") == WORKERS, 20, "another worker")
    validate_often(node, key, 20)
    assert node.metric(VALIDATIONS, verdict="valid") == 120
    another = node.client.new_key()
    validate_often(node, another, 20)


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_requests_finish(stack: Stack, workers: int) -> None:
    node = stack.api(workers=workers)
    key = node.client.new_key()
    with Unfinished(node, key) as request:
        began = time.monotonic()
        node.terminate()
        eventually(lambda: is_draining(node), STOP_SECONDS, "the node to take no more requests")
        assert b" 200 " in request.finish()
    assert node.wait_exit() == 0, node.log_of_this_run()
    assert time.monotonic() - began < STOP_SECONDS
    assert is_free(urlsplit(node.url).port or 0)


def test_sigterm_ends_a_node_that_is_kept_busy(stack: Stack) -> None:
    """A request that never ends does not keep the node from ending in time."""
    node = stack.api(workers=2)
    key = node.client.new_key()
    with Unfinished(node, key):
        began = time.monotonic()
        node.terminate()
        assert node.wait_exit() == 0, node.log_of_this_run()
        assert time.monotonic() - began < STOP_SECONDS


def test_a_killed_parent_leaves_no_worker_behind(stack: Stack) -> None:
    node = stack.api(workers=2)
    family = psutil.Process(node.pid).children(recursive=True)
    assert len(family) >= 2
    os.kill(node.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    assert not alive
    assert is_free(urlsplit(node.url).port or 0)


class Unfinished:
    """A validation whose body is still on its way."""

    def __init__(self, node: ApiNode, key: Created) -> None:
        url = urlsplit(node.url)
        self._connection = socket.create_connection((url.hostname, url.port), timeout=STOP_SECONDS)
        self._rest = b'"service_id": "platform"}'
        head = (
            f"POST /api/v1/keys/validate HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {key.api_key}\r\nContent-Length: {len(self._rest) + 1}\r\n\r\n{{"
        )
        self._connection.sendall(head.encode())
        # A later request that was answered proves that this one was read.
        assert node.client.accepts(key.api_key)

    def finish(self) -> bytes:
        self._connection.sendall(self._rest)
        return self._connection.recv(65536)

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def validate_often(node: ApiNode, key: Created, times: int) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        assert all(pool.map(node.client.accepts, [key.api_key] * times))


def is_draining(node: ApiNode) -> bool:
    return "Waiting for connections to close" in node.log_of_this_run()
