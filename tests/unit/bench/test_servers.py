"""Who of a server's processes answers requests."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from bench.servers import workers_of
from services.api.follower_process import NAME as FOLLOWER

#: Starts what a node of two workers starts, tells their process ids and waits.
NODE = f"""
import subprocess, sys
child = "import sys\\nopen('/proc/self/comm', 'w').write(sys.argv[1])\\nprint(flush=True)\\nsys.stdin.read()"
for name in ("worker", "worker", {FOLLOWER!r}, "resource_tracker"):
    started = subprocess.Popen(
        [sys.executable, "-c", child, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    started.stdout.readline()
    print(started.pid, flush=True)
sys.stdin.read()
"""
#: Answers by itself; the follower and the resource tracker of multiprocessing are its only children.
WITHOUT_WORKERS = NODE.replace('"worker", "worker", ', "")


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Iterator[tuple[psutil.Process, list[int]]]:
    """A server with its children, in the order of their start."""
    program: str = request.param
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        children = [int(process.stdout.readline()) for _ in range(4 if program is NODE else 2)]
        yield psutil.Process(process.pid), children
        process.communicate()


@pytest.mark.parametrize("node", [NODE], indirect=True)
def test_neither_the_follower_nor_a_resource_tracker_is_a_worker(
    node: tuple[psutil.Process, list[int]],
) -> None:
    parent, children = node
    assert [worker.pid for worker in workers_of(parent)] == children[:2]


@pytest.mark.parametrize("node", [NODE], indirect=True)
def test_a_worker_that_was_killed_is_none_any_more(node: tuple[psutil.Process, list[int]]) -> None:
    parent, children = node
    killed = psutil.Process(children[0])
    killed.send_signal(signal.SIGKILL)
    while killed.status() != psutil.STATUS_ZOMBIE:
        pass
    assert [worker.pid for worker in workers_of(parent)] == [children[1]]


@pytest.mark.parametrize("node", [WITHOUT_WORKERS], indirect=True)
def test_a_server_without_workers_answers_by_itself(node: tuple[psutil.Process, list[int]]) -> None:
    parent, _ = node
    assert workers_of(parent) == [parent]
