"""A worker remembers facts, and believes them only while the store still says so."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pytest

from services.api.directory import key_directory
from tests.builders import CREATED_AT, a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting
from tests.unit.api.directory.harness import StoreHarness, a_store


@pytest.fixture
def store(tmp_path: Path) -> StoreHarness:
    return a_store(tmp_path)


def test_what_the_store_still_says_is_made_once(store: StoreHarness) -> None:
    created = a_key_created()
    store.applies(created)
    known = store.find(created.data.fingerprint)
    assert known is not None

    assert store.find(created.data.fingerprint) is known
    store.applies(a_key_created())
    assert store.find(created.data.fingerprint) is known
    assert store.find(created.data.fingerprint) is known


def test_a_key_that_was_found_before_is_refused_once_it_is_revoked(store: StoreHarness) -> None:
    created = a_key_created()
    store.applies(created)
    for _ in range(3):
        store.find(created.data.fingerprint)

    store.applies(a_key_revoked(created))

    known = store.find(created.data.fingerprint)
    assert known is not None
    assert known.active_until == -math.inf


@pytest.mark.parametrize("how", ["revoked", "parked"])
def test_an_old_key_in_grace_that_was_found_before_ends_with_its_lineage(
    store: StoreHarness, how: str
) -> None:
    """Its own record is not written again when its lineage ends."""
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=CREATED_AT + timedelta(days=1))
    again = a_key_rotated(rotated, valid_until=CREATED_AT + timedelta(days=1))
    store.applies(created, rotated, again)
    before = store.find(created.data.fingerprint)
    assert before is not None
    assert before.active_until > CREATED_AT.timestamp()

    store.applies(a_key_revoked(again, sequence=4 if how == "revoked" else 9))

    known = store.find(created.data.fingerprint)
    assert known is not None
    assert known.active_until == -math.inf


def test_a_key_is_not_found_by_a_fingerprint_that_the_log_has_replaced(store: StoreHarness) -> None:
    created = a_key_created()
    store.applies(created)
    assert store.find(created.data.fingerprint) is not None

    fresh = a_refingerprinting(created)
    store.applies(fresh)

    assert store.find(created.data.fingerprint) is None
    known = store.find(fresh.data.fingerprint)
    assert known is not None
    assert known.key_id == created.data.key_id


def test_a_secret_that_turns_out_to_be_claimed_twice_is_not_remembered_as_good(store: StoreHarness) -> None:
    victim = a_key_created()
    store.applies(victim)
    store.find(victim.data.fingerprint)

    store.applies(a_key_created(fingerprint=victim.data.fingerprint))

    known = store.find(victim.data.fingerprint)
    assert known is not None
    assert known.active_until == -math.inf


def test_a_worker_remembers_a_bounded_number_and_reads_the_others_again(
    store: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_directory, "REMEMBERED", 10)
    keys = [a_key_created() for _ in range(50)]
    store.applies(*keys)

    for _ in range(2):
        for created in keys:
            known = store.find(created.data.fingerprint)
            assert known is not None
            assert known.key_id == created.data.key_id

    assert len(store.directory._recent) + len(store.directory._older) <= 20
