"""The processes of one node, as real ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from services.api.node import Node

COUNTERS = 3
SPAWN = multiprocessing.get_context("spawn")


def a_node(folder: Path) -> Node:
    return Node(folder, COUNTERS)


def work(folder: Path, orders: Connection) -> None:
    """A worker: sits down, says so, and does what it is told until it is killed."""
    node = a_node(folder)
    seat = node.enter()
    orders.send("seated")
    while True:
        match orders.recv():
            case ("count", counter, number):
                seat.counters[counter] += number
            case ("leave",):
                node.leave()
        orders.send("done")


class WorkerProcess:
    def __init__(self, folder: Path) -> None:
        self._orders, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=work, args=(folder, theirs), daemon=True)
        self._process.start()
        theirs.close()
        assert self._answer() == "seated"

    def does(self, *order: object) -> None:
        self._orders.send(order)
        assert self._answer() == "done"

    def is_killed(self) -> None:
        assert self._process.pid is not None
        if self._process.is_alive():
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(10)
        assert not self._process.is_alive()
        self._orders.close()

    def _answer(self) -> object:
        assert self._orders.poll(20), "the worker does not answer"
        return self._orders.recv()


@contextmanager
def a_worker(folder: Path) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(folder)
    try:
        yield worker
    finally:
        worker.is_killed()


def test_a_killed_workers_seat_is_free_and_its_numbers_stay(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    node.enter()
    with a_worker(tmp_path) as worker:
        worker.does("count", 1, 41)
        assert len(list(node.living())) == 2

    assert len(list(node.living())) == 1
    assert [seat.counters[1] for seat in node.seats()] == [0, 41]


def test_the_next_worker_takes_the_seat_over_and_counts_on(tmp_path: Path) -> None:
    with a_worker(tmp_path) as worker:
        worker.does("count", 1, 41)

    with a_worker(tmp_path) as successor:
        successor.does("count", 1, 1)

        (seat,) = a_node(tmp_path).seats()
        assert seat.counters[1] == 42


def test_a_seat_that_was_left_is_free_and_its_numbers_stay(tmp_path: Path) -> None:
    with a_worker(tmp_path) as worker:
        worker.does("count", 1, 41)
        worker.does("leave")

        node = a_node(tmp_path)
        assert list(node.living()) == []
        assert node.enter().counters[1] == 41
        assert len(node.seats()) == 1


def test_each_worker_has_a_seat_of_its_own(tmp_path: Path) -> None:
    with a_worker(tmp_path) as one, a_worker(tmp_path) as two:
        one.does("count", 0, 1)
        two.does("count", 0, 2)

        assert [seat.counters[0] for seat in a_node(tmp_path).seats()] == [1, 2]


def test_asking_who_lives_takes_nobodys_seat(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    own = node.enter()
    for _ in range(3):
        assert list(node.living()) == [own]

    other = a_node(tmp_path)
    assert len(list(other.living())) == 1
    other.enter()
    assert len(list(node.living())) == 2
