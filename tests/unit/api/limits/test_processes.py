"""Workers in processes of their own share a count exactly, whoever of them is killed."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from events.totals import HOUR_SECONDS
from services.api.limits.slot import LINEAGE, OWN, mark_of
from services.api.limits.window_tables import WindowTables
from tests.builders import fresh_id
from tests.unit.api.limits.node import NodeProcess, a_key
from tests.unit.api.limits.worker_process import BEGIN, numbered

ROOT = Path(__file__).parents[4]


class WorkerProcess:
    """One process of the node in that folder; a worker, unless it is another script."""

    def __init__(self, folder: Path, argument: object = 64, script: str = "worker_process") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.unit.api.limits.{script}", str(folder), str(argument)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def tell(self, *command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, command)).encode() + b"\n")
        self._process.stdin.flush()

    def says(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def is_silent(self, seconds: float) -> bool:
        assert self._process.stdout is not None
        return not select.select([self._process.stdout], [], [], seconds)[0]

    def kill(self) -> bytes:
        """As `kill -9` does; what it had said before and nobody has heard."""
        self._process.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        rest = self._process.stdout.read()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        return rest


Start = Callable[[int], list[WorkerProcess]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start so many workers, and wait until they are ready."""
    started: list[WorkerProcess] = []

    def start(count: int) -> list[WorkerProcess]:
        new = [WorkerProcess(tmp_path) for _ in range(count)]
        started.extend(new)
        assert {worker.says() for worker in new} == {"ready"}
        return new

    yield start
    for worker in started:
        if worker.is_running:
            worker.kill()


def own(folder: Path, lineage_id: str) -> int:
    """What the table says that the node has admitted."""
    tables = WindowTables(folder, first_slots=64)
    slot = tables.table(tables.number(BEGIN)).find(LINEAGE, mark_of(lineage_id))
    tables.close()
    assert slot is not None
    return slot.numbers[OWN]


def test_forty_processes_admit_exactly_a_thousand(start: Start, tmp_path: Path) -> None:
    lineage_id, workers = fresh_id(), start(40)
    for worker in workers:
        worker.tell("admit", lineage_id, 1000, 100)

    assert sum(int(worker.says()) for worker in workers) == 1000
    assert own(tmp_path, lineage_id) == 1000


def test_a_worker_killed_while_it_holds_a_lock_holds_up_nobody(start: Start, tmp_path: Path) -> None:
    lineage_id = fresh_id()
    holder, other = start(2)
    other.tell("admit", lineage_id, 10, 3)
    assert other.says() == "3"
    holder.tell("hold", lineage_id)
    assert holder.says() == "held"
    other.tell("admit", lineage_id, 10, 8)
    assert other.is_silent(0.3)

    holder.kill()

    assert other.says() == "7"
    assert own(tmp_path, lineage_id) == 10


def test_a_table_that_grows_under_four_processes_has_every_admission(start: Start, tmp_path: Path) -> None:
    workers = start(4)
    for worker in workers:
        worker.tell("each", 0, 3000, 100)

    assert [worker.says() for worker in workers] == ["3000"] * 4
    tables = WindowTables(tmp_path, first_slots=64)
    table = tables.table(tables.number(BEGIN))
    counts = [table.find(LINEAGE, mark_of(numbered(number))) for number in range(3000)]
    assert {slot.numbers[OWN] for slot in counts if slot} == {4}
    assert table.used == table.lineages == 3000
    tables.close()


def test_killing_workers_and_restarting_all_refunds_nothing(start: Start, tmp_path: Path) -> None:
    lineage_id, limit = fresh_id(), 50_000
    workers = start(4)
    for worker in workers:
        worker.tell("flood", lineage_id, limit)
    for worker in workers:
        assert worker.says() == "passed"  # and it stops within 64 KiB more, until somebody reads them

    passed = 4
    for worker in workers[:2]:
        passed += worker.kill().count(b"passed\n")
    for worker in workers[2:]:
        while worker.says() == "passed":
            passed += 1

    # One that is killed may have counted a request that it did not answer any more; never the reverse.
    assert limit - 2 <= passed <= limit
    assert own(tmp_path, lineage_id) == limit
    (restarted,) = start(1)
    restarted.tell("admit", lineage_id, limit, 100)
    assert restarted.says() == "0"


def test_processes_that_begin_an_hour_at_once_share_it_exactly(start: Start) -> None:
    lineage_id, workers = fresh_id(), start(4)
    for _ in range(3):
        for worker in workers:
            worker.tell("admit", lineage_id, 1000, 1000)
        assert sum(int(worker.says()) for worker in workers) == 1000
        for worker in workers:
            worker.tell("later", HOUR_SECONDS)


def test_a_killed_follower_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    """What was not published is published, and what others have counted counts once."""
    lineage_id, worker = fresh_id(), NodeProcess(tmp_path, first_slots=1 << 14)
    key = a_key(100_000, lineage_id)

    assert worker.admits(key) == [True]
    for count in (1, 6, 11):
        follower = WorkerProcess(tmp_path, lineage_id, "follower_process")
        assert follower.says() == f"{lineage_id} {count}"
        follower.kill()
        worker.admits(key, 5)

    assert worker.left(key) == 100_000 - 16 - 10
    worker.close()


def test_only_lineages_of_one_stripe_wait_for_each_other(start: Start) -> None:
    holder, other = start(2)
    holder.tell("hold", numbered(1))
    assert holder.says() == "held"

    other.tell("admit", numbered(2), 10, 3)

    assert other.says() == "3"
