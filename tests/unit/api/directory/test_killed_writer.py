"""A follower that is killed at any point of a write leaves a store whose positions say what it holds."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from events.keys import KeyEvent
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_store import KeyStore
from services.api.directory.store_writer import StoreWriter
from tests.builders import (
    CREATED_AT,
    StoredRecord,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    lifecycle_record,
)
from tests.unit.api.directory.harness import OWN_PEPPERS, StoreHarness

#: The writer has nothing of this process's that it could not have: it opens the store by itself.
FORK = multiprocessing.get_context("fork")
BATCH = 3


def a_log(lineages: int = 1) -> list[StoredRecord]:
    """One partition in which everything happens that a store has to write."""
    events: list[KeyEvent] = []
    for _ in range(lineages):
        living, retired, parked = a_key_created(), a_key_created(pepper_id="retired"), a_key_created()
        rotated = a_key_rotated(living, valid_until=CREATED_AT.replace(year=2036))
        refingerprinted = a_refingerprinting(retired)
        taking = a_key_rotated(rotated, new_key_id=retired.data.key_id)
        events += [living, retired, rotated, refingerprinted, parked, a_key_revoked(parked, sequence=7)]
        events += [taking, a_key_revoked(taking), a_key_created(fingerprint=parked.data.fingerprint)]
    return [lifecycle_record(event, offset) for offset, event in enumerate(events)]


@contextmanager
def opened(folder: Path) -> Iterator[StoreHarness]:
    store = KeyStore(folder, readonly=False)
    try:
        yield StoreHarness(store, StoreWriter(store, OWN_PEPPERS), KeyDirectory(store))
    finally:
        store.close()


def follow(store: StoreHarness, records: Sequence[StoredRecord], batch: int = BATCH) -> None:
    """From where the store stands, reading the record before that again, as the follower does."""
    at = max(0, store.store.positions().get(0, 0) - 1)
    while at < len(records):
        end = min(at + batch, len(records))
        store.writer.apply(records[at:end], {0: end})
        at = end


def contents(store: StoreHarness) -> list[object]:
    """Every record of the store, and its positions."""
    of = store.store
    databases = (of.keys, of.lineages, of.fingerprints, of.unverifiable, of.parked, of.learnt)
    return [
        dict(of.positions()),
        *of.read(lambda snapshot: [list(snapshot.cursor(database)) for database in databases]),
    ]


def replayed(folder: Path, records: Sequence[StoredRecord]) -> list[object]:
    with opened(folder) as store:
        if records:
            store.writer.apply(records, {0: len(records)})
        return contents(store)


class KilledAt:
    """Ends the process with SIGKILL at a step: before a transaction, each access, before and after commit."""

    def __init__(self, step: int) -> None:
        self._left = step

    def step(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def write(self, write: Any) -> Any:
        def stepping(store: KeyStore, work: Any) -> Any:
            def stepping_work(transaction: Any) -> Any:
                done = work(SteppingTransaction(transaction, self))
                self.step()
                return done

            self.step()
            done = write(store, stepping_work)
            self.step()
            return done

        return stepping


class SteppingTransaction:
    def __init__(self, transaction: Any, killed_at: KilledAt) -> None:
        self._transaction = transaction
        self._killed_at = killed_at

    def __getattr__(self, name: str) -> Any:
        def access(*arguments: Any, **options: Any) -> Any:
            self._killed_at.step()
            return getattr(self._transaction, name)(*arguments, **options)

        return access


def follow_until(step: int, folder: Path, records: Sequence[StoredRecord]) -> None:
    KeyStore.write = KilledAt(step).write(KeyStore.write)  # type: ignore[method-assign]
    with opened(folder) as store:
        follow(store, records)


def ended(folder: Path, records: Sequence[StoredRecord], step: int) -> int | None:
    """How the follower ended that is killed at that step, if there is one."""
    process = FORK.Process(target=follow_until, args=(step, folder, records))
    process.start()
    process.join(20)
    return process.exitcode


def test_a_follower_killed_at_every_step_of_a_write_goes_on_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    records = a_log()
    fresh = [replayed(tmp_path / f"fresh-{end}", records[:end]) for end in range(len(records) + 1)]
    step, held = 0, set[int]()
    while (exit_code := ended(folder := tmp_path / f"killed-{step}", records, step)) == -signal.SIGKILL:
        with opened(folder) as store:
            end = store.store.positions().get(0, 0)
            held.add(end)
            assert contents(store) == fresh[end], f"killed at step {step}"
            follow(store, records)
            assert contents(store) == fresh[-1], f"killed at step {step}"
        step += 1

    assert exit_code == 0
    assert held == {0, 3, 6, 9}
    assert step > 60


@pytest.mark.parametrize("seed", range(3))
def test_a_follower_killed_again_and_again_loses_nothing(tmp_path: Path, seed: int) -> None:
    """At any moment, also within a commit."""
    records = a_log(lineages=60)
    chance = random.Random(seed)
    folder = tmp_path / "killed"

    def follow_on() -> None:
        with opened(folder) as store:
            follow(store, records, 1)

    kills = 0
    while True:
        process = FORK.Process(target=follow_on)
        process.start()
        process.join(chance.uniform(0.004, 0.03))
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills += 1

    assert process.exitcode == 0
    assert kills > 1
    with opened(folder) as store:
        assert contents(store) == replayed(tmp_path / "fresh", records)
