"""What a worker knows of every key, folded from real events."""

from __future__ import annotations

import math
from datetime import timedelta

import orjson
import pytest

from events.keys import KeyEvent, is_bcrypt_hash
from events.lineage import Applied, Lineage, apply, park
from services.api.compact_keys import stored_keys
from services.api.directory import KeyDirectory
from tests.bcrypt_hashes import BAD
from tests.builders import CREATED_AT, a_key_created, a_key_revoked, a_key_rotated
from tests.unit.api.workers import known_key

KNOWN_PEPPERS = frozenset({"p1"})
NOW = CREATED_AT.timestamp()


def history(*events: KeyEvent) -> Lineage:
    lineage: Lineage | None = None
    for event in events:
        outcome = apply(lineage, event)
        assert isinstance(outcome, Applied)
        lineage = outcome.lineage
    assert lineage is not None
    return lineage


def a_directory(*lineages: Lineage) -> KeyDirectory:
    directory = KeyDirectory(KNOWN_PEPPERS)
    for lineage in lineages:
        directory.put(lineage)
    return directory


def test_a_key_is_found_by_fingerprint_by_id_and_by_lineage() -> None:
    created = a_key_created()
    lineage = history(created)

    directory = a_directory(lineage, history(a_key_created()))

    known = directory.find(bytes.fromhex(created.data.fingerprint))
    assert known is not None
    assert known.key_id == created.data.key_id
    assert known_key(directory, created.data.key_id) is known
    assert directory.lineage_of(created.data.key_id) == directory.lineage(created.data.key_id) == lineage
    assert len(directory) == 2


def test_nothing_is_known_of_what_is_not_there() -> None:
    directory = a_directory()

    assert directory.find(b"\0" * 32) is None
    assert "none" not in directory
    assert directory.lineage("none") is None
    assert directory.lineage_of("none") is None
    assert directory.unverifiable("hk_live_AbC***") == []


def test_a_created_key_is_active_for_ever_and_expires_when_it_says() -> None:
    expires_at = CREATED_AT + timedelta(days=30)
    created, lasting = a_key_created(expires_at=expires_at), a_key_created()
    directory = a_directory(history(created), history(lasting))

    known = known_key(directory, created.data.key_id)
    assert (known.active_until, known.expires_at) == (math.inf, expires_at.timestamp())
    forever = known_key(directory, lasting.data.key_id)
    assert (forever.active_until, forever.expires_at) == (math.inf, math.inf)


def test_a_rotation_kills_the_old_key_and_adds_the_new_one() -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)
    directory = a_directory(history(created))
    old = known_key(directory, created.data.key_id)

    directory.put(history(created, rotated))

    assert old.active_until == -math.inf
    new = known_key(directory, rotated.data.new_key.key_id)
    assert new.active_until == math.inf
    assert directory.lineage_of(new.key_id) == directory.lineage(created.data.key_id)


def test_an_old_key_in_grace_is_active_until_its_end() -> None:
    created = a_key_created()
    valid_until = CREATED_AT + timedelta(hours=24)

    directory = a_directory(history(created, a_key_rotated(created, valid_until=valid_until)))

    known = known_key(directory, created.data.key_id)
    assert known.active_until == valid_until.timestamp()


def test_revoking_the_current_key_ends_the_one_in_grace_too() -> None:
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=CREATED_AT + timedelta(hours=24))

    directory = a_directory(history(created, rotated, a_key_revoked(rotated)))

    for key_id in (created.data.key_id, rotated.data.new_key.key_id):
        known = known_key(directory, key_id)
        assert known.active_until == -math.inf


def test_revoking_the_key_in_grace_leaves_the_current_one_alive() -> None:
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=CREATED_AT + timedelta(hours=24))

    directory = a_directory(history(created, rotated, a_key_revoked(rotated, key_id=created.data.key_id)))

    old, new = known_key(directory, created.data.key_id), known_key(directory, rotated.data.new_key.key_id)
    assert (old.active_until, new.active_until) == (-math.inf, math.inf)


def test_whoever_holds_a_key_sees_what_becomes_of_it() -> None:
    """A request may have found the key a moment before its revocation was applied."""
    created = a_key_created()
    directory = a_directory(history(created))
    held = directory.find(bytes.fromhex(created.data.fingerprint))
    assert held is not None

    directory.put(history(created, a_key_revoked(created)))

    assert held.active_until == -math.inf
    assert directory.find(bytes.fromhex(created.data.fingerprint)) is held


def test_every_key_of_a_parked_lineage_is_refused_and_counted_once() -> None:
    created = a_key_created()
    lineage = history(created, a_key_rotated(created, valid_until=CREATED_AT + timedelta(hours=24)))
    directory = a_directory(lineage)
    assert directory.parked_count == 0

    parked = park(lineage, "gap").lineage
    directory.put(parked)
    directory.put(parked)

    assert directory.parked_count == 1
    for key in lineage.keys:
        known = known_key(directory, key.key_id)
        assert known.active_until == -math.inf


def test_a_lineage_parked_before_its_first_key_is_counted() -> None:
    directory = a_directory(park(Lineage(a_key_created().data.key_id), "gap").lineage)

    assert (directory.parked_count, len(directory)) == (1, 0)


def test_a_key_under_an_unknown_pepper_is_found_by_what_is_visible_of_it() -> None:
    created = a_key_created(pepper_id="retired")
    directory = a_directory(history(created))

    assert directory.find(bytes.fromhex(created.data.fingerprint)) is None
    (known,) = directory.unverifiable(created.data.key_prefix)
    assert known is known_key(directory, created.data.key_id)
    assert directory.unverifiable_count == 1


def test_a_recognised_key_is_found_by_its_fingerprint_of_today_and_no_longer_unverifiable() -> None:
    created = a_key_created(pepper_id="retired")
    look_alike = a_key_created(pepper_id="retired", key_prefix=created.data.key_prefix)
    directory = a_directory(history(created), history(look_alike))
    known = known_key(directory, created.data.key_id)

    directory.remember(b"f" * 32, known)
    directory.remember(b"f" * 32, known)

    assert directory.find(b"f" * 32) is known
    assert [other.key_id for other in directory.unverifiable(created.data.key_prefix)] == [
        look_alike.data.key_id
    ]
    assert directory.unverifiable_count == 1


def test_a_recognised_key_that_is_revoked_is_refused_and_stays_recognised() -> None:
    created = a_key_created(pepper_id="retired")
    directory = a_directory(history(created))
    known = known_key(directory, created.data.key_id)
    directory.remember(b"f" * 32, known)

    directory.put(history(created, a_key_revoked(created)))

    found = directory.find(b"f" * 32)
    assert found is not None
    assert found.active_until == -math.inf
    assert directory.unverifiable_count == 0


def test_the_answer_of_a_valid_key_has_these_bytes() -> None:
    key_id = "0197f3a0-0000-7000-8000-000000000001"
    created = a_key_created(key_id=key_id, scopes=("model:read", "train"), monthly_prediction_limit=5000)

    known = known_key(a_directory(history(created)), key_id)

    assert known.body == (
        b'{"is_valid":true,"key_id":"0197f3a0-0000-7000-8000-000000000001","user_id":"admin",'
        b'"service_id":"platform","scopes":["model:read","train"],"rate_limit_per_hour":1000,'
        b'"billing_plan":"free","monthly_prediction_limit":5000}'
    )
    assert known.body is known.body


def test_the_new_key_of_a_rotation_answers_with_its_own_id() -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)

    known = known_key(a_directory(history(created, rotated)), rotated.data.new_key.key_id)

    assert orjson.loads(known.body)["key_id"] == rotated.data.new_key.key_id


@pytest.mark.parametrize("latecomer_first", [False, True])
def test_a_key_id_that_two_lineages_claim_passes_for_neither(*, latecomer_first: bool) -> None:
    """Whoever is met first: a snapshot comes in another order than the log, and must decide alike."""
    victim = a_key_created()
    stranger = a_key_created()
    taking = a_key_rotated(stranger, new_key_id=victim.data.key_id)
    lineages = [history(victim, a_key_revoked(victim)), history(stranger, taking)]

    directory = a_directory(*(reversed(lineages) if latecomer_first else lineages))

    for fingerprint in (victim.data.fingerprint, taking.data.new_key.fingerprint):
        known = directory.find(bytes.fromhex(fingerprint))
        assert known is None or known.active_until == -math.inf


@pytest.mark.parametrize("latecomer_first", [False, True])
def test_a_secret_that_two_lineages_claim_passes_for_neither(*, latecomer_first: bool) -> None:
    victim = a_key_created()
    stranger = a_key_created(fingerprint=victim.data.fingerprint)
    lineages = [history(victim), history(stranger)]

    directory = a_directory(*(reversed(lineages) if latecomer_first else lineages))
    directory.put(history(victim))

    known = directory.find(bytes.fromhex(victim.data.fingerprint))
    assert known is not None
    assert known.active_until == -math.inf


@pytest.mark.parametrize("pepper_id", ["p1", "retired"])
@pytest.mark.parametrize(
    "bad", [*BAD.values(), "é" * 30, "a" * 59 + "é"], ids=[*BAD, "30 of two", "61 bytes"]
)
def test_a_row_with_a_hash_that_nobody_could_check_is_a_key_that_never_passes(
    bad: str, pepper_id: str
) -> None:
    """No event has one, but rows that an older projector made may: they are loaded, and do no harm."""
    created = a_key_created(pepper_id=pepper_id)
    (key,) = history(created).keys
    lineage = Lineage(key.lineage_id, 1, (key._replace(bcrypt_hash=bad),))
    loaded, put = a_directory(), a_directory(lineage)
    loaded.load(stored_keys(lineage))

    for directory in (loaded, put):
        known = known_key(directory, key.key_id)
        assert known.active_until == -math.inf
        assert not is_bcrypt_hash(directory.key(key.key_id).bcrypt_hash)
    put.put(lineage)
    assert known_key(put, key.key_id).active_until == -math.inf
