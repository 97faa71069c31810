"""Keys that no pepper of the node finds: known by what is visible of them, until bcrypt has told more."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pytest

from events.keys import KeyEvent
from tests.builders import CREATED_AT, a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting
from tests.unit.api.directory.harness import StoreHarness, a_store

NOW = CREATED_AT.timestamp()
LEARNT = b"f" * 32


@pytest.fixture
def store(tmp_path: Path) -> StoreHarness:
    return a_store(tmp_path)


def look_alikes(store: StoreHarness, prefix: str) -> list[str]:
    return [known.key_id for known in store.directory.unverifiable(prefix)]


def test_a_key_under_an_unknown_pepper_is_found_by_what_is_visible_of_it(store: StoreHarness) -> None:
    created = a_key_created(pepper_id="retired")
    store.applies(created)

    assert store.find(created.data.fingerprint) is None
    assert look_alikes(store, created.data.key_prefix) == [created.data.key_id]
    assert store.unverifiable == 1


def test_what_is_visible_of_a_key_may_be_longer_than_the_store_can_look_up(store: StoreHarness) -> None:
    prefix = "🗝" * 255
    one, other = (a_key_created(pepper_id="retired", key_prefix=prefix) for _ in range(2))
    store.applies(one, other, a_key_revoked(one))

    assert look_alikes(store, prefix) == [other.data.key_id]


def test_a_learnt_fingerprint_finds_its_key_which_is_no_longer_unverifiable(store: StoreHarness) -> None:
    created = a_key_created(pepper_id="retired")
    look_alike = a_key_created(pepper_id="retired", key_prefix=created.data.key_prefix)
    store.applies(created, look_alike)

    store.writer.learn(created.data.key_id, LEARNT, "p1")
    store.writer.learn(created.data.key_id, LEARNT, "p1")

    known = store.directory.find(LEARNT)
    assert known is not None
    assert known.key_id == created.data.key_id
    assert look_alikes(store, created.data.key_prefix) == [look_alike.data.key_id]
    assert store.unverifiable == 1


def test_a_learnt_key_that_is_revoked_is_refused_and_stays_learnt(store: StoreHarness) -> None:
    created = a_key_created(pepper_id="retired")
    store.applies(created)
    store.writer.learn(created.data.key_id, LEARNT, "p1")

    store.applies(a_key_revoked(created))

    found = store.directory.find(LEARNT)
    assert found is not None
    assert found.active_until == -math.inf
    assert store.unverifiable == 0


def test_what_is_learnt_of_no_key_is_nothing(store: StoreHarness) -> None:
    store.writer.learn(a_key_created().data.key_id, LEARNT, "p1")

    assert store.directory.find(LEARNT) is None


def test_a_learnt_fingerprint_takes_no_other_keys_place(store: StoreHarness) -> None:
    created, retired = a_key_created(), a_key_created(pepper_id="retired")
    store.applies(created, retired)

    store.writer.learn(retired.data.key_id, bytes.fromhex(created.data.fingerprint), "p1")

    known = store.find(created.data.fingerprint)
    assert known is not None
    assert known.key_id == created.data.key_id


@pytest.mark.parametrize("pepper_id", ["p1", "p2"])
def test_a_key_that_the_log_has_given_a_fingerprint_under_an_own_pepper_is_found_by_it(
    store: StoreHarness, pepper_id: str
) -> None:
    created = a_key_created(pepper_id="retired")
    fresh = a_refingerprinting(created, pepper_id=pepper_id)

    store.applies(created, fresh)

    known = store.find(fresh.data.fingerprint)
    assert known is not None
    assert known.key_id == created.data.key_id
    assert look_alikes(store, created.data.key_prefix) == []
    assert store.unverifiable == 0


def test_a_key_whose_new_fingerprint_is_under_an_unknown_pepper_is_unverifiable(store: StoreHarness) -> None:
    created = a_key_created()
    store.applies(created, a_refingerprinting(created, pepper_id="p3"))

    assert store.find(created.data.fingerprint) is None
    assert look_alikes(store, created.data.key_prefix) == [created.data.key_id]


@pytest.mark.parametrize("how", ["revoked", "replaced at once"])
def test_dead_keys_are_not_to_be_recognised_any_more(store: StoreHarness, how: str) -> None:
    """They would keep a pepper from being retired."""
    created = a_key_created(pepper_id="retired")
    end: KeyEvent = a_key_revoked(created) if how == "revoked" else a_key_rotated(created, pepper_id="p1")

    store.applies(created, end)

    assert store.unverifiable == 0


def test_keys_whose_time_is_over_are_forgotten_and_no_others(store: StoreHarness) -> None:
    day = timedelta(days=1)
    expired = a_key_created(pepper_id="retired", expires_at=CREATED_AT + day)
    replaced = a_key_created(pepper_id="retired")
    living = a_key_created(pepper_id="retired", expires_at=CREATED_AT + 3 * day)
    store.applies(
        expired, replaced, a_key_rotated(replaced, valid_until=CREATED_AT + day, pepper_id="p1"), living
    )

    store.writer.forget_dead(NOW + 86_399)
    assert store.unverifiable == 3
    store.writer.forget_dead(NOW + 86_400)
    assert store.unverifiable == 1
    assert look_alikes(store, living.data.key_prefix) == [living.data.key_id]


def test_other_own_peppers_find_other_keys(tmp_path: Path) -> None:
    """The node was started with another list of peppers than before."""
    created = [a_key_created(pepper_id=pepper_id) for pepper_id in ("p1", "p2", "p3")]
    before = a_store(tmp_path, frozenset({"p1"}))
    before.writer.use_own_peppers()
    before.applies(*created)
    assert [before.find(one.data.fingerprint) is not None for one in created] == [True, False, False]
    before.writer.learn(created[1].data.key_id, LEARNT, "p1")

    store = a_store(tmp_path, frozenset({"p3", "p2"}))
    store.writer.use_own_peppers()

    assert [store.find(one.data.fingerprint) is not None for one in created] == [False, True, True]
    assert look_alikes(store, created[0].data.key_prefix) == [created[0].data.key_id]
    assert store.unverifiable == 1


def test_a_fingerprint_learnt_under_a_pepper_that_is_gone_finds_nothing(tmp_path: Path) -> None:
    created = a_key_created(pepper_id="retired")
    before = a_store(tmp_path, frozenset({"p1"}))
    before.writer.use_own_peppers()
    before.applies(created)
    before.writer.learn(created.data.key_id, LEARNT, "p1")

    store = a_store(tmp_path, frozenset({"p2"}))
    store.writer.use_own_peppers()

    assert store.directory.find(LEARNT) is None
    assert look_alikes(store, created.data.key_prefix) == [created.data.key_id]


def test_the_same_own_peppers_leave_the_store_as_it_is(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.writer.use_own_peppers()
    created = a_key_created(pepper_id="retired")
    store.applies(created)
    before = store.store.environment.info()["last_txnid"]

    store.writer.use_own_peppers()

    assert store.store.environment.info()["last_txnid"] == before


def test_a_key_that_its_fingerprint_finds_is_given_no_other(store: StoreHarness) -> None:
    """Whoever could talk to the follower would otherwise take any key from its holder."""
    created = a_key_created(pepper_id="p1")
    store.applies(created)

    store.writer.learn(created.data.key_id, b"f" * 32, "p1")

    assert store.find("66" * 32) is None
    assert store.find(created.data.fingerprint) is not None


def test_keys_whose_time_is_over_are_looked_for_some_at_a_time(store: StoreHarness) -> None:
    ended = CREATED_AT + timedelta(days=1)
    for number in range(7):
        store.applies(a_key_created(pepper_id="retired", key_prefix=f"hk_live_{number}***", expires_at=ended))

    after: bytes | None = b""
    left = []
    while after is not None:
        after = store.writer.forget_dead((ended + timedelta(seconds=1)).timestamp(), after, most=3)
        left.append(store.unverifiable)

    assert left == [4, 1, 0]
