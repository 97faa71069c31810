"""What an event of a lineage costs does not depend on how often the lineage was rotated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from events.keys import KeyCreated, KeyEvent, KeyRotated
from tests.builders import (
    CREATED_AT,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
)
from tests.unit.api.directory.harness import StoreHarness, a_store

ROTATIONS = 3000


class CountingTransaction:
    """Counts what the writer touches; `sizes` are those of the records that it writes."""

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction
        self.gets = 0
        self.sizes: list[int] = []

    def get(self, *arguments: Any, **options: Any) -> Any:
        self.gets += 1
        return self._transaction.get(*arguments, **options)

    def put(self, key: bytes, value: bytes, **options: Any) -> Any:
        self.sizes.append(len(value))
        return self._transaction.put(key, value, **options)

    def delete(self, *arguments: Any, **options: Any) -> Any:
        self.sizes.append(0)
        return self._transaction.delete(*arguments, **options)

    def cursor(self, *_: Any) -> Any:
        raise AssertionError("nobody looks through a whole database for an event")


@contextmanager
def counting(store: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[CountingTransaction]]:
    counted: list[CountingTransaction] = []
    write = type(store.store).write

    def counting_write(self: Any, work: Any) -> Any:
        def counting_work(transaction: Any) -> Any:
            counted.append(CountingTransaction(transaction))
            return work(counted[-1])

        return write(self, counting_work)

    with monkeypatch.context() as patched:
        patched.setattr(type(store.store), "write", counting_write)
        yield counted


def rotated(times: int) -> tuple[list[KeyEvent], KeyCreated | KeyRotated]:
    """A lineage, and its last event. Every old key is in grace for years, the hardest case."""
    last: KeyCreated | KeyRotated = a_key_created()
    events: list[KeyEvent] = [last]
    for _ in range(times):
        last = a_key_rotated(last, valid_until=CREATED_AT.replace(year=2036))
        events.append(last)
    return events, last


def all_that_may_follow(first: KeyEvent, last: KeyCreated | KeyRotated) -> list[KeyEvent]:
    refingerprinted = a_refingerprinting(last)
    first_revoked = a_key_revoked(last, key_id=first.subject, sequence=last.sequence + 2)
    rotated_again = a_key_rotated(last, sequence=last.sequence + 3)
    revoked = a_key_revoked(rotated_again)
    return [refingerprinted, first_revoked, rotated_again, revoked, a_key_revoked(last, sequence=10**6)]


def test_an_event_touches_as_many_records_as_in_a_short_lineage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[list[tuple[int, int]]] = []
    for times in (1, ROTATIONS):
        store = a_store(tmp_path / str(times))
        events, last = rotated(times)
        store.applies(*events)
        with counting(store, monkeypatch) as counted:
            for event in all_that_may_follow(events[0], last):
                assert store.applies(event)[0].lineage is not None
        assert len(counted) == 5
        for transaction in counted:
            assert transaction.gets < 20
            assert max(transaction.sizes) < 1500
        touched.append([(one.gets, len(one.sizes)) for one in counted])

    assert touched[0] == touched[1]


def test_all_keys_of_a_long_lineage_end_with_one_revocation(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    events, last = rotated(300)
    store.applies(*events)
    rotations = [event for event in events if isinstance(event, KeyRotated)]
    ids = [events[0].subject, *(event.data.new_key.key_id for event in rotations)]
    assert all(store.facts(key_id).active_until > CREATED_AT.timestamp() for key_id in ids)

    store.applies(a_key_revoked(last))

    assert {store.facts(key_id).active_until for key_id in ids} == {float("-inf")}
