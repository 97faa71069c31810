"""A store that folds with the current and the named keys says what the fold over whole lineages says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.lineage import Key, Lineage
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_store import KeyStore
from services.api.directory.store_writer import StoreWriter
from tests.builders import StoredRecord
from tests.fakes import snapshot_keys
from tests.unit.api.directory.harness import OWN_PEPPERS, StoreHarness
from tests.unit.api.directory.histories import folded, logs


@pytest.fixture(scope="module")
def emptied() -> Iterator[StoreHarness]:
    """One store for all examples; each begins with `empty`."""
    with TemporaryDirectory() as folder:
        store = KeyStore(Path(folder), readonly=False)
        yield StoreHarness(store, StoreWriter(store, OWN_PEPPERS), KeyDirectory(store))
        store.close()


def empty(store: StoreHarness) -> StoreHarness:
    store.store.clear()
    return StoreHarness(store.store, store.writer, KeyDirectory(store.store))


def says_what_the_log_says(store: StoreHarness, lineages: dict[str, Lineage]) -> None:
    claims = Counter(key.key_id for lineage in lineages.values() for key in lineage.keys)
    for lineage in lineages.values():
        read = store.directory.lineage(lineage.lineage_id, [key.key_id for key in lineage.keys])
        assert read is not None
        assert (read.sequence, read.parked) == (lineage.sequence, lineage.parked)
        assert {key.key_id: key for key in read.keys} == {key.key_id: key for key in lineage.keys}
        if lineage.keys:
            assert read.current == lineage.current
        for key in lineage.keys:
            says_of_a_key_what_the_log_says(store, lineage, key, is_conflicting=claims[key.key_id] > 1)
    assert store.keys == len(claims)
    assert store.parked == sum(lineage.parked is not None for lineage in lineages.values())


def says_of_a_key_what_the_log_says(
    store: StoreHarness, lineage: Lineage, key: Key, *, is_conflicting: bool
) -> None:
    ends = -math.inf if is_conflicting else active_until(lineage, key)
    known = store.facts(key.key_id)
    assert known.active_until == ends
    found = store.directory.find(key.fingerprint)
    if is_conflicting:
        assert found is None or found.active_until == -math.inf
        return
    assert known.expires_at == (math.inf if key.expires_at is None else key.expires_at.timestamp())
    assert known.lineage_id == lineage.lineage_id
    assert store.directory.key(key.key_id) == key
    look_alikes = [one.key_id for one in store.directory.unverifiable(key.key_prefix)]
    if key.pepper_id in OWN_PEPPERS:
        assert found is not None
        assert (found.key_id, found.body, found.active_until) == (key.key_id, known.body, ends)
        assert key.key_id not in look_alikes
    else:
        assert found is None
        assert ends == -math.inf or key.key_id in look_alikes


def active_until(lineage: Lineage, key: Key) -> float:
    if lineage.parked is not None or key.revoked_at is not None:
        return -math.inf
    if key.superseded_by is None:
        return math.inf
    return -math.inf if key.valid_until is None else key.valid_until.timestamp()


def cut(records: Sequence[StoredRecord], data: st.DataObject) -> Iterable[Sequence[StoredRecord]]:
    """The records in batches of any size."""
    rest = list(records)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        yield rest[:size]
        rest = rest[size:]


@given(records=logs(), data=st.data())
def test_the_store_says_of_every_key_and_lineage_what_the_whole_fold_says(
    emptied: StoreHarness, records: list[StoredRecord], data: st.DataObject
) -> None:
    store = empty(emptied)

    for batch in cut(records, data):
        store.reads(batch)

    says_what_the_log_says(store, folded(records))


@given(records=logs(), data=st.data())
def test_a_snapshot_taken_anywhere_and_the_rest_of_the_log_say_the_same(
    emptied: StoreHarness, records: list[StoredRecord], data: st.DataObject
) -> None:
    """Its keys come in any order, and the record before the snapshot's end is read once more."""
    store = empty(emptied)
    end = data.draw(st.integers(0, len(records)))
    taken = folded(records[:end])
    for lineage in taken.values():
        if not lineage.keys:
            store.writer.put(lineage)
    rows = [row for lineage in taken.values() for row in snapshot_keys(lineage)]
    store.writer.load(data.draw(st.permutations(rows)))
    says_what_the_log_says(store, taken)

    store.reads(records[max(0, end - 1) :])

    says_what_the_log_says(store, folded(records))


@given(records=logs(is_orderly=True))
def test_reading_all_of_it_twice_changes_nothing(emptied: StoreHarness, records: list[StoredRecord]) -> None:
    """An orderly log, that is: of others, what was read too early is read again in its turn."""
    store = empty(emptied)
    store.reads(records)
    before = contents(store)

    for record in records:
        store.reads([record, record])

    assert contents(store) == before


def contents(store: StoreHarness) -> list[object]:
    databases = (store.store.keys, store.store.lineages, store.store.fingerprints, store.store.unverifiable)
    return store.store.read(lambda snapshot: [list(snapshot.cursor(database)) for database in databases])
