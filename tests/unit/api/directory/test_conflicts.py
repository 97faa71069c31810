"""An id or a secret that two lineages claim, which no writer of ours does, passes for neither."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from events.keys import KeyEvent
from tests.builders import a_key_created, a_key_revoked, a_key_rotated
from tests.fakes import snapshot_keys
from tests.unit.api.directory.harness import StoreHarness, a_store, history


@pytest.fixture
def store(tmp_path: Path) -> StoreHarness:
    return a_store(tmp_path)


def known_of(store: StoreHarness, lineages: list[list[KeyEvent]], *, is_loaded: bool) -> None:
    """The lineages come one after the other, from the log or from a snapshot."""
    for events in lineages:
        if is_loaded:
            store.loads(history(*events))
        else:
            store.applies(*events)


@pytest.mark.parametrize("is_loaded", [False, True], ids=["log", "snapshot"])
@pytest.mark.parametrize("latecomer_first", [False, True])
def test_a_key_id_that_two_lineages_claim_passes_for_neither(
    store: StoreHarness, *, latecomer_first: bool, is_loaded: bool
) -> None:
    """Whoever is met first: a snapshot comes in another order than the log, and must decide alike."""
    victim = a_key_created()
    stranger = a_key_created()
    taking = a_key_rotated(stranger, new_key_id=victim.data.key_id)
    lineages: list[list[KeyEvent]] = [[victim, a_key_revoked(victim)], [stranger, taking]]
    known_of(store, lineages[::-1] if latecomer_first else lineages, is_loaded=is_loaded)

    for fingerprint in (victim.data.fingerprint, taking.data.new_key.fingerprint):
        known = store.find(fingerprint)
        assert known is None or known.active_until == -math.inf
    assert store.facts(victim.data.key_id).active_until == -math.inf


@pytest.mark.parametrize("is_loaded", [False, True], ids=["log", "snapshot"])
@pytest.mark.parametrize("latecomer_first", [False, True])
def test_a_living_key_whose_id_is_taken_passes_no_more(
    store: StoreHarness, *, latecomer_first: bool, is_loaded: bool
) -> None:
    victim = a_key_created()
    stranger = a_key_created()
    taking = a_key_rotated(stranger, new_key_id=victim.data.key_id)
    lineages: list[list[KeyEvent]] = [[victim], [stranger, taking]]
    known_of(store, lineages[::-1] if latecomer_first else lineages, is_loaded=is_loaded)

    for fingerprint in (victim.data.fingerprint, taking.data.new_key.fingerprint):
        known = store.find(fingerprint)
        assert known is None or known.active_until == -math.inf


def test_each_lineage_goes_on_from_where_it_stands_when_one_has_taken_an_id_of_the_other(
    store: StoreHarness,
) -> None:
    """What later events make of it must be what the log says, for both."""
    victim, stranger = a_key_created(), a_key_created()
    taking = a_key_rotated(stranger, new_key_id=victim.data.key_id)
    onwards, revoked = a_key_rotated(taking), a_key_revoked(victim)
    store.applies(victim, stranger, taking, onwards, revoked)

    both = {victim.data.key_id: (victim, revoked), stranger.data.key_id: (stranger, taking, onwards)}
    for lineage_id, events in both.items():
        whole = history(*events)
        named = [key.key_id for key in whole.keys]
        assert store.directory.lineage(lineage_id, named) == whole
    assert store.facts(onwards.data.new_key.key_id).active_until == math.inf


@pytest.mark.parametrize("older_first", [True, False])
def test_a_snapshot_in_any_order_keeps_an_older_key_whose_id_was_taken(
    store: StoreHarness, *, older_first: bool
) -> None:
    """A revocation of it would park its lineage otherwise."""
    victim, stranger = a_key_created(), a_key_created()
    rotated = a_key_rotated(victim, valid_until=victim.time.replace(year=2036))
    taking = a_key_rotated(stranger, new_key_id=victim.data.key_id)
    older, current = snapshot_keys(history(victim, rotated))
    store.loads(history(stranger, taking))
    store.writer.load([older, current] if older_first else [current, older])

    revoked = a_key_revoked(rotated, key_id=victim.data.key_id)
    store.applies(revoked)

    whole = history(victim, rotated, revoked)
    assert store.directory.lineage(whole.lineage_id, [key.key_id for key in whole.keys]) == whole
    assert store.facts(rotated.data.new_key.key_id).active_until == math.inf


@pytest.mark.parametrize("is_loaded", [False, True], ids=["log", "snapshot"])
@pytest.mark.parametrize("latecomer_first", [False, True])
def test_a_secret_that_two_lineages_claim_passes_for_neither(
    store: StoreHarness, *, latecomer_first: bool, is_loaded: bool
) -> None:
    victim = a_key_created()
    stranger = a_key_created(fingerprint=victim.data.fingerprint)
    lineages: list[list[KeyEvent]] = [[victim], [stranger]]
    known_of(store, lineages[::-1] if latecomer_first else lineages, is_loaded=is_loaded)
    store.applies(victim)

    known = store.find(victim.data.fingerprint)
    assert known is not None
    assert known.active_until == -math.inf
    for created in (victim, stranger):
        assert store.facts(created.data.key_id).active_until == -math.inf


def test_a_secret_that_two_lineages_claim_passes_for_neither_whatever_follows(store: StoreHarness) -> None:
    victim = a_key_created()
    stranger = a_key_created(fingerprint=victim.data.fingerprint)
    store.applies(victim, stranger)

    store.applies(a_key_rotated(victim, valid_until=victim.time.replace(year=2030)))

    assert store.facts(victim.data.key_id).active_until == -math.inf


@pytest.mark.parametrize("latecomer_first", [False, True])
def test_a_retired_secret_that_two_lineages_claim_passes_for_neither_under_its_pepper(
    tmp_path: Path, *, latecomer_first: bool
) -> None:
    """Nobody could find it when it came; a node that has its pepper again must not believe it."""
    victim = a_key_created(pepper_id="retired")
    stranger = a_key_created(pepper_id="retired", fingerprint=victim.data.fingerprint)
    a_store(tmp_path).applies(*([stranger, victim] if latecomer_first else [victim, stranger]))

    store = a_store(tmp_path, frozenset({"p1", "retired"}))
    store.writer.use_own_peppers()

    known = store.find(victim.data.fingerprint)
    assert known is None or known.active_until == -math.inf
