"""How the store writes keys and lineages: nothing is lost, whatever an event may state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.lineage import Key, KeySettings
from services.api.directory.key_store import KeyStore, StoreIdentity
from services.api.directory.stored_facts import (
    VERSION,
    StoredLineage,
    decode_lineage,
    encode_key,
    encode_lineage,
    id_bytes,
    id_bytes_or_none,
    id_text,
    key_of,
)

IDS = st.uuids().map(str)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
COUNTS = st.integers(0, 2**53)
TIMES = st.datetimes(timezones=st.just(UTC))
KEYS = st.builds(
    Key,
    key_id=IDS,
    lineage_id=IDS,
    settings=st.builds(
        KeySettings,
        name=TEXTS,
        user_id=TEXTS,
        service_id=TEXTS,
        environment=st.sampled_from(["production", "test", "development"]),
        scopes=st.lists(TEXTS, max_size=3).map(tuple),
        allowed_ips=st.lists(TEXTS, max_size=3).map(tuple),
        rate_limit_per_hour=COUNTS,
        monthly_prediction_limit=st.none() | COUNTS,
        billing_plan=TEXTS,
        lifetime_days=st.none() | st.integers(1, 36_500),
    ),
    key_prefix=TEXTS,
    bcrypt_hash=TEXTS,
    fingerprint=st.binary(min_size=32, max_size=32),
    pepper_id=TEXTS,
    created_at=TIMES,
    expires_at=st.none() | TIMES,
    revoked_at=st.none() | TIMES,
    superseded_by=st.none() | IDS,
    valid_until=st.none() | TIMES,
)
LINEAGES = st.builds(
    StoredLineage,
    sequence=COUNTS,
    current=st.none() | IDS,
    revoked_at=st.none() | TIMES,
    parked=st.none() | TEXTS,
    keys=st.lists(KEYS, max_size=2).map(tuple),
)
IDENTITY = StoreIdentity("keys.lifecycle", "a cluster", "this start")


@given(KEYS, st.booleans(), st.booleans())
def test_a_key_comes_back_as_it_was(key: Key, is_parked: bool, is_conflicting: bool) -> None:
    record = encode_key(key, is_parked=is_parked, is_conflicting=is_conflicting)

    assert key_of(orjson.loads(record)) == key


@given(LINEAGES)
def test_a_lineage_comes_back_as_it_was(lineage: StoredLineage) -> None:
    assert decode_lineage(encode_lineage(lineage)) == lineage


@given(IDS)
def test_an_id_comes_back_as_it_was(key_id: str) -> None:
    assert id_text(id_bytes(key_id)) == key_id
    assert id_bytes_or_none(key_id) == id_bytes(key_id)


@given(st.text(st.characters(), max_size=40))
def test_what_is_no_id_is_none(text: str) -> None:
    found = id_bytes_or_none(text)

    assert found is None or id_text(found) == text


def test_every_fact_has_its_name() -> None:
    """Names and meanings belong to `VERSION`: who changes them writes stores that others must not read."""
    written = {*Key._fields, *KeySettings._fields} - {"settings"}

    assert VERSION == 1
    assert written == {
        *("key_id", "lineage_id", "key_prefix", "bcrypt_hash", "fingerprint", "pepper_id", "created_at"),
        *("expires_at", "revoked_at", "superseded_by", "valid_until", "name", "user_id", "service_id"),
        *("environment", "scopes", "allowed_ips", "rate_limit_per_hour", "monthly_prediction_limit"),
        *("billing_plan", "lifetime_days"),
    }


def test_a_store_that_was_filled_is_believed(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, readonly=False)
    assert store.identity() is None
    store.begin_to_fill(IDENTITY, frozenset())
    assert store.identity() is None, "it may have been cut off in the middle"
    store.filled()

    assert store.identity() == IDENTITY
    store.close()


@pytest.mark.parametrize("version", [VERSION + 1, VERSION - 1], ids=["after going back", "after an update"])
def test_a_store_of_another_version_is_not_believed(tmp_path: Path, version: int) -> None:
    store = KeyStore(tmp_path, readonly=False)
    store.begin_to_fill(replace(IDENTITY, version=version), frozenset())
    store.filled()

    assert store.identity() is None
    store.close()


def test_an_identity_with_facts_that_nobody_here_knows_is_not_believed(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, readonly=False)
    written = orjson.dumps({"version": VERSION + 1, "lineages": "elsewhere"})
    store.write(lambda transaction: transaction.put(b"identity", written, db=store._meta))
    store.filled()

    assert store.identity() is None
    store.close()
