"""Keys as few bytes, and back: nothing is lost, whatever an event may state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from events.lineage import Key, Lineage, park
from services.api.compact_keys import CompactKeys, StoredKey, Terms, stored_keys
from services.api.directory import KeyDirectory
from tests.builders import CREATED_AT, a_key_created, a_key_revoked, a_key_rotated, fresh_id
from tests.unit.api.test_directory import KNOWN_PEPPERS, history


def and_back(lineage: Lineage) -> tuple[Key, ...]:
    keys = CompactKeys()
    return tuple(keys.unpack(stored.key_id, keys.pack(stored)) for stored in stored_keys(lineage))


def in_postgres_words(stored: StoredKey) -> StoredKey:
    """The same key as a row of the snapshot tells it."""
    return stored._replace(terms=orjson.dumps(list(stored.terms)).decode())


def a_long_life() -> Lineage:
    created = a_key_created(
        name="Schlüssel\n42 🗝",
        scopes=("model:read", "train"),
        allowed_ips=("10.0.0.0/8",),
        monthly_prediction_limit=0,
        lifetime_days=30,
        expires_at=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        time=CREATED_AT + timedelta(microseconds=123_457),
    )
    rotated = a_key_rotated(created, valid_until=datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC))
    return history(created, rotated, a_key_revoked(rotated))


def test_a_key_comes_back_as_it_was() -> None:
    for lineage in (history(a_key_created()), a_long_life()):
        assert and_back(lineage) == lineage.keys


def test_each_end_of_a_key_comes_back_alone() -> None:
    (key,) = history(a_key_created()).keys
    for ended in (
        key._replace(expires_at=CREATED_AT),
        key._replace(revoked_at=CREATED_AT),
        key._replace(valid_until=CREATED_AT),
        key._replace(superseded_by=fresh_id()),
    ):
        assert and_back(Lineage(key.lineage_id, 1, (ended,))) == (ended,)


def test_keys_of_the_same_terms_share_them() -> None:
    keys = CompactKeys()
    one, other = (next(stored_keys(history(a_key_created()))) for _ in range(2))

    packed = [keys.pack(stored) for stored in (one, in_postgres_words(one), other)]

    assert packed[0] == packed[1]
    assert isinstance(one.terms, Terms)
    assert (
        keys.unpack(one.key_id, packed[1]).settings.scopes
        is keys.unpack(other.key_id, packed[2]).settings.scopes
    )


@pytest.mark.parametrize("latecomer_first", [False, True])
def test_a_directory_that_was_loaded_knows_what_one_knows_that_was_told(*, latecomer_first: bool) -> None:
    """First all first keys, then those that rotation has made: that is how a snapshot comes."""
    victim, stranger, twin = a_key_created(), a_key_created(), a_key_created()
    taking = a_key_rotated(stranger, new_key_id=victim.data.key_id)
    lineages = [
        history(victim, a_key_revoked(victim)),
        history(stranger, taking, a_key_rotated(taking, sequence=3)),
        history(twin),
        history(a_key_created(fingerprint=twin.data.fingerprint)),
        a_long_life(),
        park(history(a_key_created(pepper_id="retired")), "gap").lineage,
    ]
    if latecomer_first:
        lineages.reverse()
    told, loaded = KeyDirectory(KNOWN_PEPPERS), KeyDirectory(KNOWN_PEPPERS)
    rows = [(position, row) for one in lineages for position, row in enumerate(stored_keys(one))]

    for lineage in lineages:
        told.put(lineage)
    for at_first in (True, False):
        loaded.load(in_postgres_words(row) for position, row in rows if (position == 0) is at_first)

    for lineage in lineages:
        assert loaded.lineage(lineage.lineage_id) == told.lineage(lineage.lineage_id) == lineage
        for key in lineage.keys:
            assert end_of(loaded, key) == end_of(told, key)
    for directory in (told, loaded):
        assert (len(directory), directory.parked_count, directory.unverifiable_count) == (8, 1, 1)


def test_a_key_id_is_no_lineage_unless_it_is_the_first() -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)
    directory = KeyDirectory(KNOWN_PEPPERS)
    directory.put(history(created, rotated))

    assert directory.lineage(rotated.data.new_key.key_id) is None
    assert directory.lineage(fresh_id()) is None


def test_a_cleared_directory_knows_nothing() -> None:
    created = a_key_created()
    directory = KeyDirectory(KNOWN_PEPPERS)
    directory.put(history(created))
    fingerprint = bytes.fromhex(created.data.fingerprint)
    assert directory.find(fingerprint) is not None

    directory.clear()

    assert directory.find(fingerprint) is None
    assert directory.lineage(created.data.key_id) is None
    assert len(directory) == 0


def end_of(directory: KeyDirectory, key: Key) -> float | None:
    """Until when its secret passes; None where only bcrypt finds it."""
    known = directory.find(key.fingerprint)
    return None if known is None else known.active_until
