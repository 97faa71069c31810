"""The workers of a node, each a process, tell one time."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from events.clock import Clock
from services.api.node import Node
from services.api.node_clock import node_offset

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC).timestamp()
HOUR_SECONDS = 3600.0
BOOTTIME_SECONDS = 5000.0
PATIENCE_SECONDS = 20.0
SPAWN = multiprocessing.get_context("spawn")


def work(folder: Path, wall_seconds: float, orders: Connection) -> None:
    """A worker that starts when the wall clock says so, and does what it is told."""
    clock = Clock(lambda: wall_seconds, lambda: BOOTTIME_SECONDS, node_offset(folder))
    orders.send(clock.seconds())
    while True:
        match orders.recv():
            case ("follow the log", appended_seconds):
                clock.follow_log(appended_seconds, appended_seconds)
            case ("follow many", seed):
                chance = random.Random(seed)
                for _ in range(3000):
                    appended_seconds = clock.seconds() + chance.random()
                    clock.follow_log(appended_seconds, appended_seconds)
                    assert clock.seconds() >= appended_seconds
        orders.send(clock.seconds())


class WorkerProcess:
    """Each order, and its start, is answered with the time that its clock tells then."""

    def __init__(self, folder: Path, wall_seconds: float) -> None:
        self._orders, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=work, args=(folder, wall_seconds, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.began_at = self.answer()

    def asked(self, *order: object) -> float:
        self.told(*order)
        return self.answer()

    def told(self, *order: object) -> None:
        self._orders.send(order)

    def answer(self) -> float:
        assert self._orders.poll(PATIENCE_SECONDS), "the worker does not answer"
        seconds: float = self._orders.recv()
        return seconds

    def is_killed(self) -> None:
        self._process.kill()
        self._process.join(PATIENCE_SECONDS)
        self._orders.close()


@contextmanager
def a_worker(folder: Path, wall_seconds: float = NOW) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(folder, wall_seconds)
    try:
        yield worker
    finally:
        worker.is_killed()


@pytest.mark.parametrize("step_seconds", [-HOUR_SECONDS, HOUR_SECONDS])
def test_a_worker_that_starts_after_a_step_tells_the_time_of_its_siblings(
    tmp_path: Path, step_seconds: float
) -> None:
    with a_worker(tmp_path) as older, a_worker(tmp_path, NOW + step_seconds) as younger:
        assert older.began_at == NOW
        assert younger.began_at == older.asked("tell") >= NOW


def test_what_one_worker_has_read_holds_for_all_and_for_its_successor(tmp_path: Path) -> None:
    with a_worker(tmp_path) as one, a_worker(tmp_path) as other:
        one.asked("follow the log", NOW + HOUR_SECONDS)
        assert other.asked("tell") == NOW + HOUR_SECONDS
    with a_worker(tmp_path) as successor:
        assert successor.began_at == NOW + HOUR_SECONDS


def test_two_that_put_it_forward_at_once_never_undo_each_other(tmp_path: Path) -> None:
    with ExitStack() as running:
        workers = [running.enter_context(a_worker(tmp_path)) for _ in range(3)]
        for seed, worker in enumerate(workers):
            worker.told("follow many", seed)
        told = max(worker.answer() for worker in workers)
        assert {worker.asked("tell") for worker in workers} == {told}


def test_the_clock_is_no_workers_seat(tmp_path: Path) -> None:
    node_offset(tmp_path)
    assert Node(tmp_path, 1).seats() == []
