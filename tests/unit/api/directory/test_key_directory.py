"""What a worker reads of every key, folded from real events."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from events.keys import is_bcrypt_hash
from events.lineage import Lineage
from tests.bcrypt_hashes import BAD
from tests.builders import CREATED_AT, a_key_created, a_key_revoked, a_key_rotated, fresh_id
from tests.unit.api.directory.harness import StoreHarness, a_store, history


@pytest.fixture
def store(tmp_path: Path) -> StoreHarness:
    return a_store(tmp_path)


def test_a_key_is_found_by_fingerprint_by_id_and_by_lineage(store: StoreHarness) -> None:
    created = a_key_created()
    store.applies(created, a_key_created())

    known = store.find(created.data.fingerprint)

    assert known is not None
    assert known.key_id == store.facts(created.data.key_id).key_id == created.data.key_id
    directory = store.directory
    assert directory.lineage_of(created.data.key_id) == directory.lineage(created.data.key_id)
    assert directory.lineage(created.data.key_id) == history(created)
    assert created.data.key_id in directory
    assert len(directory) == 2


NO_KEY = "0197f3a0-0000-7000-8000-00000000000a"


@pytest.mark.parametrize("key_id", ["none", "", NO_KEY, NO_KEY.upper(), "0" * 32, "\ud800"])
def test_nothing_is_known_of_what_is_not_there(store: StoreHarness, key_id: str) -> None:
    directory = store.directory

    assert directory.find(b"\0" * 32) is None
    assert key_id not in directory
    assert directory.key(key_id) is None
    assert directory.lineage(key_id) is None
    assert directory.lineage_of(key_id) is None
    assert directory.unverifiable("hk_live_AbC***") == []


def test_an_id_in_another_spelling_is_none(store: StoreHarness) -> None:
    """Lineages, limits and usage go by the text of an id: there may be one only."""
    created = a_key_created(key_id="0197f3a0-abcd-7000-8000-000000000001")
    store.applies(created)

    for key_id in (created.data.key_id.upper(), created.data.key_id.replace("-", "")):
        assert key_id not in store.directory
        assert store.directory.key(key_id) is None


def test_a_created_key_is_active_for_ever_and_expires_when_it_says(store: StoreHarness) -> None:
    expires_at = CREATED_AT + timedelta(days=30)
    created, lasting = a_key_created(expires_at=expires_at), a_key_created()
    store.applies(created, lasting)

    known = store.facts(created.data.key_id)
    assert (known.active_until, known.expires_at) == (math.inf, expires_at.timestamp())
    forever = store.facts(lasting.data.key_id)
    assert (forever.active_until, forever.expires_at) == (math.inf, math.inf)


def test_a_rotation_kills_the_old_key_and_adds_the_new_one(store: StoreHarness) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)
    store.applies(created)
    assert store.facts(created.data.key_id).active_until == math.inf

    store.applies(rotated)

    assert store.facts(created.data.key_id).active_until == -math.inf
    new = store.facts(rotated.data.new_key.key_id)
    assert new.active_until == math.inf
    lineage = store.directory.lineage_of(new.key_id)
    assert lineage == store.directory.lineage(created.data.key_id)
    assert lineage is not None
    assert lineage.current.key_id == new.key_id


def test_a_lineage_is_read_with_its_current_key_and_the_named_ones(store: StoreHarness) -> None:
    """However many it had: commands ask for no more."""
    first = a_key_created()
    second = a_key_rotated(first)
    third = a_key_rotated(second)
    whole = history(first, second, third)
    store.applies(first, second, third)

    one, two, three = whole.keys
    read = store.directory
    assert read.lineage(whole.lineage_id) == whole._replace(keys=(three,))
    assert read.lineage(whole.lineage_id, [one.key_id]) == whole._replace(keys=(one, three))
    assert read.lineage_of(two.key_id) == whole._replace(keys=(two, three))
    stranger = a_key_created()
    store.applies(stranger)
    assert read.lineage(whole.lineage_id, [stranger.data.key_id, fresh_id()]) == whole._replace(keys=(three,))


def test_a_key_id_is_no_lineage_unless_it_is_the_first(store: StoreHarness) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)
    store.applies(created, rotated)

    assert store.directory.lineage(rotated.data.new_key.key_id) is None


def test_an_old_key_in_grace_is_active_until_its_end(store: StoreHarness) -> None:
    created = a_key_created()
    valid_until = CREATED_AT + timedelta(hours=24)

    store.applies(created, a_key_rotated(created, valid_until=valid_until))

    assert store.facts(created.data.key_id).active_until == valid_until.timestamp()


def test_revoking_the_current_key_ends_those_in_grace_too(store: StoreHarness) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=CREATED_AT + timedelta(hours=24))
    again = a_key_rotated(rotated, valid_until=CREATED_AT + timedelta(hours=24))
    revoked = a_key_revoked(again)

    store.applies(created, rotated, again, revoked)

    for key in history(created, rotated, again, revoked).keys:
        assert store.facts(key.key_id).active_until == -math.inf
        assert store.directory.key(key.key_id) == key


def test_revoking_the_key_in_grace_leaves_the_current_one_alive(store: StoreHarness) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=CREATED_AT + timedelta(hours=24))

    store.applies(created, rotated, a_key_revoked(rotated, key_id=created.data.key_id))

    old, new = store.facts(created.data.key_id), store.facts(rotated.data.new_key.key_id)
    assert (old.active_until, new.active_until) == (-math.inf, math.inf)


def test_every_key_of_a_parked_lineage_is_refused_and_counted_once(store: StoreHarness) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=CREATED_AT + timedelta(hours=24))
    again = a_key_rotated(rotated, valid_until=CREATED_AT + timedelta(hours=24))
    store.applies(created, rotated, again)
    assert store.parked == 0

    gap = a_key_revoked(again, sequence=9)
    store.applies(gap, gap)

    assert store.parked == 1
    for key in history(created, rotated, again).keys:
        assert store.facts(key.key_id).active_until == -math.inf


def test_a_lineage_parked_before_its_first_key_is_counted(store: StoreHarness) -> None:
    rotated = a_key_rotated(a_key_created())

    store.applies(rotated)

    assert (store.parked, store.keys) == (1, 0)
    lineage = store.directory.lineage(rotated.partitionkey)
    assert lineage == Lineage(rotated.partitionkey, parked="gap: sequence 2 after 0")


def test_the_answer_of_a_valid_key_has_these_bytes(store: StoreHarness) -> None:
    key_id = "0197f3a0-0000-7000-8000-000000000001"
    store.applies(a_key_created(key_id=key_id, scopes=("model:read", "train"), monthly_prediction_limit=5000))

    known = store.facts(key_id)

    assert known.body == (
        b'{"is_valid":true,"key_id":"0197f3a0-0000-7000-8000-000000000001","user_id":"admin",'
        b'"service_id":"platform","scopes":["model:read","train"],"rate_limit_per_hour":1000,'
        b'"billing_plan":"free","monthly_prediction_limit":5000}'
    )
    assert known.body is known.body


def test_the_new_key_of_a_rotation_answers_with_its_own_id(store: StoreHarness) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)

    store.applies(created, rotated)

    known = store.facts(rotated.data.new_key.key_id)
    assert orjson.loads(known.body)["key_id"] == rotated.data.new_key.key_id


@pytest.mark.parametrize("pepper_id", ["p1", "retired"])
@pytest.mark.parametrize(
    "bad", [*BAD.values(), "é" * 30, "a" * 59 + "é"], ids=[*BAD, "30 of two", "61 bytes"]
)
def test_a_row_with_a_hash_that_nobody_could_check_is_a_key_that_never_passes(
    store: StoreHarness, bad: str, pepper_id: str
) -> None:
    """No event has one, but rows that an older projector made may: they are loaded, and do no harm."""
    created = a_key_created(pepper_id=pepper_id)
    (key,) = history(created).keys
    store.loads(Lineage(key.lineage_id, 1, (key._replace(bcrypt_hash=bad),)))

    assert store.facts(key.key_id).active_until == -math.inf
    stored = store.directory.key(key.key_id)
    assert stored is not None
    assert not is_bcrypt_hash(stored.bcrypt_hash)
    store.applies(created)
    assert store.facts(key.key_id).active_until == -math.inf
