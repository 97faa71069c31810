"""The table in its files: how it grows, what a full disk does, and what a killed process leaves behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.api.limits import window_table
from services.api.limits.errors import NoRoomForCounts
from services.api.limits.lineage_counts import count_of
from services.api.limits.locks import Locks
from services.api.limits.slot import KEY, KEY_NEXT, KIND, LINEAGE, OWN, Numbers, Slot, mark_of, text_of
from services.api.limits.window_table import WindowTable
from services.api.limits.window_tables import WindowTables
from tests.builders import fresh_id
from tests.unit.api.limits.node import BEGIN, HOUR, LINEAGE_ID, NodeProcess, a_key


class KilledProcess(BaseException):
    """What ends a process leaves it no time to do anything else."""


class DyingNumbers:
    """Numbers of a slot that a process writes so many of before it is killed."""

    def __init__(self, numbers: Numbers, lives: list[int]) -> None:
        self._numbers = numbers
        self._lives = lives

    def __getitem__(self, index: int) -> int:
        return self._numbers[index]

    def __setitem__(self, index: int, number: int) -> None:
        if not self._lives:
            raise KilledProcess
        self._lives.pop()
        self._numbers[index] = number


def killed_after(writes: int, worker: NodeProcess, key_id: str) -> bool:
    """The worker admits one more request, but dies after so many writes. False: it wrote fewer."""
    slot, mark = worker.limits._remember(a_key(key_id=key_id))
    lives = [1] * writes
    dying = Slot(DyingNumbers(slot.numbers, lives), DyingNumbers(slot.state, lives), slot.stripe, slot.place)
    worker.limits._recent[key_id] = dying, mark
    try:
        worker.limits.admit(a_key(10, key_id=key_id), BEGIN + 2)
    except KilledProcess:
        return True
    return False


@pytest.mark.parametrize("is_other_key", [False, True], ids=["the same key", "another key"])
def test_a_process_killed_between_any_two_writes_leaves_nothing_torn(
    tmp_path: Path, is_other_key: bool
) -> None:
    """The request was counted or it was not; what is counted will be published; all ids are whole."""
    second = fresh_id() if is_other_key else LINEAGE_ID
    writes, was_killed = 0, True
    while was_killed:
        worker = NodeProcess(tmp_path / str(writes))
        worker.admits(a_key(10), at=BEGIN + 1)
        worker.publishes()
        was_killed = killed_after(writes, worker, second)
        other = NodeProcess(tmp_path / str(writes))

        slot = other.slot()
        count, last_used = count_of(other.table, slot)
        assert count in (1, 2)
        assert set(last_used) <= {LINEAGE_ID, second}
        assert (LINEAGE_ID in last_used) or not is_other_key
        if count == 2:
            assert other.unpublished() == [2]
        assert other.admits(a_key(10, key_id=second), 12, at=BEGIN + 3).count(True) == 10 - count
        assert count_of(other.table, slot)[1][second] == int(BEGIN + 3) * 1000
        worker.close()
        other.close()
        writes += 1
    assert writes > 3


def test_a_slot_is_seen_only_once_its_lineage_is_named(node: NodeProcess) -> None:
    """A process killed before wrote no kind: its slot is free, and the next one takes it."""
    high, low = mark_of(LINEAGE_ID)
    segment = node.table._segments[0]
    at = (low & (segment.slots - 1)) * 12
    segment._numbers[at + 1], segment._numbers[at + 2] = high, low

    assert node.table.find(LINEAGE, (high, low)) is None
    assert node.table.find_or_add(LINEAGE, (high, low)).numbers[KIND] == LINEAGE


def test_an_id_survives_being_two_numbers() -> None:
    for _ in range(100):
        uuid = fresh_id()
        assert text_of(mark_of(uuid)) == uuid


def test_lineages_that_meet_in_one_slot_are_told_apart(node: NodeProcess) -> None:
    lineages = [f"00000000-0000-7000-8000-{64 * number:012x}" for number in range(20)]
    for number, lineage_id in enumerate(lineages):
        node.admits(a_key(100, lineage_id), number + 1)

    assert [node.left(a_key(100, one)) for one in lineages] == [99 - number for number in range(20)]


def test_a_table_grows_and_other_processes_find_all_of_it(tmp_path: Path) -> None:
    one, other = NodeProcess(tmp_path), NodeProcess(tmp_path)
    keys = [a_key(3, fresh_id()) for _ in range(1000)]
    assert other.left(keys[0]) == 3
    for number, key in enumerate(keys):
        (one, other)[number % 2].admits(key)

    assert {process.left(key) for process in (one, other) for key in keys} == {2}
    assert one.table.used == one.table.lineages == 1000
    assert one.table.slots == other.table.slots == 64 * (2**6 - 1)
    assert len(one.unpublished()) == 1000
    one.close()
    other.close()


def test_a_slot_never_moves(node: NodeProcess) -> None:
    """So a worker that remembers its place counts on, however much the table grows."""
    node.admits(a_key(10), 4)
    for _ in range(500):
        node.admits(a_key(10, fresh_id()))

    assert node.admits(a_key(10), 7) == [True] * 6 + [False]


class LateLocks(Locks):
    """Whoever waits for the lock of changes gets it after others have done something."""

    def __init__(self, path: Path, others: Callable[[], object]) -> None:
        super().__init__(path)
        self._others = others

    @contextmanager
    def changes(self) -> Iterator[None]:
        with super().changes():
            self._others()
            yield


def test_a_table_that_another_process_has_just_made_is_used_and_not_made_again(tmp_path: Path) -> None:
    first = NodeProcess(tmp_path)
    locks = LateLocks(tmp_path / "locks", lambda: first.admits(a_key(10), 4))

    table = WindowTable(tmp_path, f"3600-{HOUR}", HOUR, locks, first_slots=64)

    slot = table.find(LINEAGE, mark_of(LINEAGE_ID))
    assert slot is not None
    assert slot.numbers[OWN] == 4
    locks.close()
    first.close()


def test_a_file_that_a_killed_process_did_not_announce_is_written_anew(node: NodeProcess) -> None:
    node.admits(a_key(10))
    (node.tables._folder / f"3600-{HOUR}.1").write_bytes(b"half of it")

    for _ in range(100):
        node.admits(a_key(10, fresh_id()))

    assert node.table.used == 101


def test_files_are_the_owners_and_have_no_holes(node: NodeProcess) -> None:
    """Writing to a hole on a full disk kills the process."""
    for _ in range(200):
        node.admits(a_key(10, fresh_id()))

    files = list(node.tables._folder.iterdir())
    assert len(files) > 3
    for file in files:
        status = file.stat()
        assert status.st_mode & 0o777 == 0o600
        assert status.st_blocks * 512 >= status.st_size


def no_room(descriptor: int, offset: int, size: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_clear_error(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that can't grow is filled further, then new lineages are refused; known ones go on."""
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(NoRoomForCounts, match=r"no room for counts .* No space left on device"):
        node.admits(a_key(10))
    monkeypatch.undo()
    node.admits(a_key(10))
    monkeypatch.setattr(os, "posix_fallocate", no_room)

    for _ in range(55):
        node.admits(a_key(10, fresh_id()))
    with pytest.raises(NoRoomForCounts):
        node.admits(a_key(10, fresh_id()))

    assert node.admits(a_key(10, key_id=fresh_id())) == [True]
    assert node.admits(a_key(10), 9) == [True] * 8 + [False]
    assert len([record for record in caplog.records if "searches" in record.message]) == 1
    assert not list(node.tables._folder.glob("*.new"))

    monkeypatch.undo()
    assert node.admits(a_key(10, fresh_id())) == [True]


def test_a_table_that_could_not_grow_tries_again(node: NodeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    node.admits(a_key(10))
    monkeypatch.setattr(os, "posix_fallocate", no_room)
    for _ in range(39):
        node.admits(a_key(10, fresh_id()))
    monkeypatch.undo()
    monkeypatch.setattr(window_table, "monotonic", lambda: node.table._retry_at_seconds + 1)

    node.admits(a_key(10, fresh_id()))

    assert node.table.slots == 64 + 128


@pytest.mark.parametrize("damage", ["cut off", "zeros", "second file lost"])
def test_a_table_that_a_power_failure_has_damaged_is_made_anew(tmp_path: Path, damage: str) -> None:
    """Counts that were published come back from the log."""
    one = NodeProcess(tmp_path)
    for key in [a_key(10)] + [a_key(10, fresh_id()) for _ in range(50)]:
        one.admits(key)
    one.close()
    first = tmp_path / f"3600-{HOUR}.0"
    if damage == "cut off":
        first.write_bytes(first.read_bytes()[:100])
    elif damage == "zeros":
        first.write_bytes(bytes(first.stat().st_size))
    else:
        (tmp_path / f"3600-{HOUR}.1").unlink()

    other = NodeProcess(tmp_path)
    assert other.admits(a_key(10), 11) == [True] * 10 + [False]
    for _ in range(100):
        other.admits(a_key(10, fresh_id()))
    assert other.table.used == 101
    other.close()


def test_a_place_that_is_none_has_no_slot(node: NodeProcess) -> None:
    node.admits(a_key(10))
    place = node.slot().place

    assert node.slot().numbers[OWN] == 1
    assert [node.table.at(LINEAGE, other) for other in (0, 65, 9 << 40, place + (1 << 40))] == [None] * 4


def test_each_window_has_a_table_of_its_own_that_can_be_deleted(tmp_path: Path) -> None:
    tables = WindowTables(tmp_path, first_slots=64)
    for number in (7, 8, 12):
        tables.table(number)
    assert tables.existing(9) is None
    assert tables.numbers() == [7, 8, 12]

    tables.delete(8)

    assert tables.numbers() == [7, 12]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3600-12.0", "3600-7.0", "locks"]
    tables.close()


@pytest.mark.parametrize("leads_to", ["itself", "a lineage", "nowhere"])
def test_a_list_of_keys_that_a_power_failure_has_damaged_ends(node: NodeProcess, leads_to: str) -> None:
    """Parts of a file may be older than others; nobody may go round in it for ever, with a lock in hand."""
    for key_id in (LINEAGE_ID, other := fresh_id(), LINEAGE_ID):
        node.admits(a_key(10, key_id=key_id))
    slot = node.slot()
    damaged = node.table.find(KEY, mark_of(other))
    assert damaged is not None
    places = {"itself": damaged.place, "a lineage": slot.place, "nowhere": 5 << 40}
    damaged.numbers[KEY_NEXT] = places[leads_to]

    assert set(count_of(node.table, slot)[1]) == {LINEAGE_ID, other}
