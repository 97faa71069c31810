"""The rules of the fold, one at a time. What holds for every history is in test_lineage_laws.py."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.keys import IssuedKey, KeyCreated, KeyEvent
from events.lineage import Applied, Ignored, Lineage, Parked, apply
from tests.builders import (
    CREATED_AT,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    fresh_id,
)

DAY = timedelta(days=1)


def after(*events: KeyEvent) -> Lineage:
    """The lineage that the events make, each of which must take effect."""
    lineage: Lineage | None = None
    for event in events:
        outcome = apply(lineage, event)
        assert isinstance(outcome, Applied), outcome
        lineage = outcome.lineage
    assert lineage is not None
    return lineage


def test_a_creation_begins_a_lineage_with_one_active_key() -> None:
    created = a_key_created()
    lineage = after(created)
    assert (lineage.lineage_id, lineage.sequence, lineage.parked) == (created.subject, 1, None)
    assert lineage.keys == (lineage.current,)
    assert lineage.current.is_active(CREATED_AT)


def test_a_created_key_keeps_every_fact_of_its_creation() -> None:
    created = a_key_created(
        name="ci",
        user_id="u-1",
        service_id="prediction",
        environment="test",
        scopes=("predict", "read"),
        allowed_ips=("10.0.0.0/8",),
        rate_limit_per_hour=77,
        monthly_prediction_limit=5,
        billing_plan="pro",
        lifetime_days=30,
        expires_at=CREATED_AT + 30 * DAY,
    )
    key = after(created).current
    settings = {name: getattr(key.settings, name) for name in key.settings._fields}
    stated = created.data.model_dump()
    assert settings == {name: stated.pop(name) for name in settings}
    stated["fingerprint"] = bytes.fromhex(stated["fingerprint"])
    assert stated == {name: getattr(key, name) for name in stated}
    assert key.created_at == created.time


def test_a_rotation_replaces_the_current_key_at_once() -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)
    lineage = after(created, rotated)
    old, new = lineage.keys
    assert lineage.current is new
    assert (old.key_id, old.superseded_by) == (created.data.key_id, new.key_id)
    assert not old.is_active(CREATED_AT)
    assert new.is_active(rotated.time)
    assert (lineage.lineage_id, lineage.sequence) == (created.subject, 2)


def test_a_rotation_keeps_the_settings_and_the_lineage() -> None:
    created = a_key_created(scopes=("predict",), rate_limit_per_hour=50, monthly_prediction_limit=9)
    old, new = after(created, a_key_rotated(created)).keys
    assert new.settings == old.settings
    assert new.lineage_id == old.lineage_id == created.subject
    assert new.fingerprint != old.fingerprint


def test_a_rotated_key_lives_its_whole_length_of_life_anew() -> None:
    created = a_key_created(lifetime_days=30)
    rotated = a_key_rotated(created, time=CREATED_AT + 100 * DAY)
    old, new = after(created, rotated).keys
    assert old.is_expired(rotated.time), "an expired key can be rotated"
    assert new.created_at == rotated.time
    assert new.expires_at == rotated.time + 30 * DAY


def test_a_replaced_key_is_active_until_its_grace_ends_and_not_a_moment_longer() -> None:
    created = a_key_created()
    end = CREATED_AT + DAY
    old = after(created, a_key_rotated(created, valid_until=end)).keys[0]
    assert old.is_active(end - timedelta(microseconds=1))
    assert not old.is_active(end)


def test_without_a_grace_no_clock_revives_the_replaced_key() -> None:
    created = a_key_created()
    old = after(created, a_key_rotated(created, time=CREATED_AT + 300 * DAY)).keys[0]
    assert not old.is_active(CREATED_AT - 1000 * DAY)


def test_a_key_expires_at_the_very_moment_that_it_was_told() -> None:
    key = after(a_key_created(expires_at=CREATED_AT + DAY)).current
    assert not key.is_expired(CREATED_AT + DAY - timedelta(microseconds=1))
    assert key.is_expired(CREATED_AT + DAY)
    assert key.is_active(CREATED_AT + DAY), "expiry is another question than revocation"


def test_a_key_without_an_end_never_expires() -> None:
    assert not after(a_key_created(expires_at=None)).current.is_expired(CREATED_AT + 9999 * DAY)


def test_revoking_the_current_key_ends_every_secret_of_the_lineage() -> None:
    created = a_key_created()
    first = a_key_rotated(created, valid_until=CREATED_AT + DAY)
    second = a_key_rotated(first, valid_until=CREATED_AT + DAY)
    revoked = a_key_revoked(second)
    lineage = after(created, first, second, revoked)
    assert [key.revoked_at for key in lineage.keys] == [revoked.time] * 3
    assert not any(key.is_active(CREATED_AT) for key in lineage.keys)


def test_revoking_an_older_key_in_its_grace_ends_that_one_only() -> None:
    created = a_key_created()
    first = a_key_rotated(created, valid_until=CREATED_AT + DAY)
    second = a_key_rotated(first, valid_until=CREATED_AT + DAY)
    revoked = a_key_revoked(second, key_id=created.data.key_id)
    lineage = after(created, first, second, revoked)
    assert [key.is_active(revoked.time) for key in lineage.keys] == [False, True, True]
    assert lineage.current.revoked_at is None


def test_the_time_of_the_first_revocation_stays() -> None:
    created = a_key_created()
    rotated = a_key_rotated(created, valid_until=CREATED_AT + DAY)
    older = a_key_revoked(rotated, key_id=created.data.key_id, time=CREATED_AT + timedelta(hours=1))
    current = a_key_revoked(rotated, sequence=4, time=CREATED_AT + timedelta(hours=2))
    again = a_key_revoked(rotated, sequence=5, time=CREATED_AT + timedelta(hours=3))
    lineage = after(created, rotated, older, current, again)
    assert [key.revoked_at for key in lineage.keys] == [older.time, current.time]
    assert lineage.sequence == 5


def test_a_sequence_that_is_taken_changes_nothing() -> None:
    created = a_key_created()
    lineage = after(created, a_key_rotated(created))
    assert apply(lineage, created) == Ignored("stale sequence")
    assert apply(lineage, a_key_rotated(created)) == Ignored("stale sequence")
    assert apply(lineage, a_key_revoked(created)) == Ignored("stale sequence")


@pytest.mark.parametrize("sequence", [3, 4, 1000])
def test_a_gap_parks_the_lineage_and_says_between_what(sequence: int) -> None:
    created = a_key_created()
    before = after(created)
    outcome = apply(before, a_key_revoked(created, sequence=sequence))
    assert isinstance(outcome, Parked)
    assert outcome.why == outcome.lineage.parked == f"gap: sequence {sequence} after 1"
    assert (outcome.lineage.keys, outcome.lineage.sequence) == (before.keys, 1)


def test_a_lineage_whose_beginning_is_missing_is_parked_without_keys() -> None:
    rotated = a_key_rotated(a_key_created())
    outcome = apply(None, rotated)
    assert isinstance(outcome, Parked)
    assert outcome.lineage == Lineage(rotated.partitionkey, parked="gap: sequence 2 after 0")


def test_a_parked_lineage_takes_no_event_any_more() -> None:
    created = a_key_created()
    parked = Lineage(created.subject, parked="because")
    for event in (
        created,
        a_key_rotated(created),
        a_key_revoked(created),
        a_key_revoked(created, sequence=9),
        a_refingerprinting(created),
    ):
        assert apply(parked, event) == Ignored("parked")


CREATED = a_key_created()
ROTATED = a_key_rotated(CREATED, valid_until=CREATED_AT + DAY)


@pytest.mark.parametrize(
    ("history", "event"),
    [
        pytest.param((), a_key_rotated(CREATED, sequence=1), id="rotated before it was created"),
        pytest.param((), a_key_revoked(CREATED, sequence=1), id="revoked before it was created"),
        pytest.param((CREATED,), CREATED.model_copy(update={"sequence": 2}), id="created twice"),
        pytest.param((CREATED, ROTATED), a_key_rotated(CREATED, sequence=3), id="an older key rotated"),
        pytest.param((CREATED,), a_key_rotated(CREATED, key_id=fresh_id()), id="a stranger rotated"),
        pytest.param(
            (CREATED,), a_key_rotated(CREATED, new_key_id=CREATED.data.key_id), id="rotated into itself"
        ),
        pytest.param(
            (CREATED, ROTATED), a_key_rotated(ROTATED, new_key_id=CREATED.subject), id="an old key_id again"
        ),
        pytest.param(
            (CREATED, a_key_revoked(CREATED)), a_key_rotated(CREATED, sequence=3), id="a dead key rotated"
        ),
        pytest.param((CREATED,), a_key_revoked(CREATED, key_id=fresh_id()), id="a stranger revoked"),
        pytest.param((), a_refingerprinting(CREATED, sequence=1), id="refingerprinted before it was created"),
        pytest.param(
            (CREATED,), a_refingerprinting(CREATED, key_id=fresh_id()), id="a stranger refingerprinted"
        ),
    ],
)
def test_what_contradicts_the_history_parks_the_lineage(
    history: tuple[KeyEvent, ...], event: KeyEvent
) -> None:
    before = after(*history) if history else None
    outcome = apply(before, event)
    assert isinstance(outcome, Parked)
    assert outcome.why == f"contradiction: {type(event).__name__} at sequence {event.sequence}"
    assert outcome.lineage.keys == (before.keys if before else ())


def test_a_refingerprinted_key_has_the_new_fingerprint_and_is_otherwise_as_it_was() -> None:
    before = after(CREATED, ROTATED)
    event = a_refingerprinting(before, pepper_id="2026-02")
    new = before.current._replace(fingerprint=bytes.fromhex(event.data.fingerprint), pepper_id="2026-02")
    assert new.fingerprint != before.current.fingerprint
    assert after(CREATED, ROTATED, event) == before._replace(sequence=3, keys=(before.keys[0], new))


def test_an_older_key_is_refingerprinted_where_it_stands() -> None:
    """A key in grace is used as well."""
    before = after(CREATED, ROTATED)
    event = a_refingerprinting(before, key_id=CREATED.subject)
    old = before.keys[0]._replace(fingerprint=bytes.fromhex(event.data.fingerprint), pepper_id="p2")
    assert after(CREATED, ROTATED, event) == before._replace(sequence=3, keys=(old, before.current))


def test_a_dead_key_may_be_refingerprinted_and_stays_dead() -> None:
    """The revocation may have won the race; that is no contradiction."""
    revoked = after(CREATED, a_key_revoked(CREATED))
    outcome = apply(revoked, a_refingerprinting(revoked))
    assert isinstance(outcome, Applied)
    key = outcome.lineage.current
    assert (key.pepper_id, key.revoked_at) == ("p2", revoked.current.revoked_at)
    assert not key.is_active(CREATED_AT)


def test_a_fingerprint_of_another_lineages_key_is_applied() -> None:
    """The fold sees one lineage at a time: who holds them all has to refuse both keys."""
    created = a_key_created()
    event = a_refingerprinting(created, fingerprint=CREATED.data.fingerprint)
    assert after(created, event).current.fingerprint == after(CREATED).current.fingerprint


def test_a_lineage_finds_its_keys_by_id() -> None:
    lineage = after(CREATED, ROTATED)
    assert lineage.find(CREATED.data.key_id) is lineage.keys[0]
    assert lineage.find(fresh_id()) is None


def test_nothing_that_verifies_a_secret_is_printed() -> None:
    for event in (CREATED, ROTATED):
        issued: IssuedKey = event.data if isinstance(event, KeyCreated) else event.data.new_key
        printed = f"{event!r} {event} {after(CREATED, ROTATED)!r}"
        assert issued.fingerprint not in printed
        assert issued.bcrypt_hash not in printed
        assert str(bytes.fromhex(issued.fingerprint)) not in printed
    refingerprinted = a_refingerprinting(ROTATED)
    printed = f"{refingerprinted!r} {refingerprinted} {after(CREATED, ROTATED, refingerprinted)!r}"
    assert refingerprinted.data.fingerprint not in printed
    assert str(bytes.fromhex(refingerprinted.data.fingerprint)) not in printed
