"""What holds for every history of a key, whatever its events are."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from events.keys import KEY_EVENTS, KeyCreated, KeyEvent, KeyRefingerprinted, KeyRotated, LineageEvent
from events.lineage import Applied, Ignored, Lineage, Outcome, Parked, apply
from tests.builders import CREATED_AT, a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting

TIMES = st.integers(min_value=0, max_value=10**6).map(lambda minutes: CREATED_AT + timedelta(minutes=minutes))


def key_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"


@st.composite
def follow_ups(draw: st.DrawFn, lineage: Lineage) -> KeyEvent:
    """Any event that a writer which has seen the lineage may append."""
    older = [key.key_id for key in lineage.keys[:-1]]
    what = draw(
        st.sampled_from(["rotate", "revoke", "refingerprint"] + ["revoke an older one"] * bool(older))
    )
    if what == "refingerprint":
        return draw(refingerprintings(lineage))
    if what == "revoke an older one":
        return a_key_revoked(lineage, key_id=draw(st.sampled_from(older)), time=draw(TIMES))
    if what == "revoke" or lineage.current.revoked_at is not None:
        return a_key_revoked(lineage, time=draw(TIMES))
    fresh = key_id(draw(st.integers(min_value=2, max_value=10**9).filter(lambda n: _unused(lineage, n))))
    grace = draw(st.none() | TIMES)
    return a_key_rotated(lineage, new_key_id=fresh, time=draw(TIMES), valid_until=grace)


@st.composite
def refingerprintings(draw: st.DrawFn, lineage: Lineage) -> KeyRefingerprinted:
    """Of any key of the lineage, dead or alive."""
    key = draw(st.sampled_from(lineage.keys))
    pepper_id = draw(st.sampled_from(["p1", "p2", "p3"]))
    return a_refingerprinting(lineage, key_id=key.key_id, pepper_id=pepper_id, time=draw(TIMES))


@st.composite
def histories(draw: st.DrawFn) -> list[KeyEvent]:
    """A whole life: a creation, and what writers appended to it, in order."""
    created = a_key_created(
        key_id=key_id(1), time=draw(TIMES), lifetime_days=draw(st.none() | st.integers(1, 365))
    )
    events: list[KeyEvent] = [created]
    for _ in range(draw(st.integers(min_value=0, max_value=6))):
        events.append(draw(follow_ups(fold(events))))
    return events


@given(histories())
def test_every_event_of_an_orderly_history_takes_effect(events: list[KeyEvent]) -> None:
    assert all(isinstance(outcome, Applied) for outcome in outcomes(events))
    assert fold(events).sequence == len(events)


@given(histories(), st.data())
def test_repeating_any_event_anywhere_later_changes_nothing(
    events: list[KeyEvent], data: st.DataObject
) -> None:
    """Each event may come again, as often as it likes, at any place after its first appearance."""
    disturbed = list(events)
    for again in data.draw(st.lists(st.sampled_from(events), max_size=8)):
        first = next(place for place, event in enumerate(disturbed) if event is again)
        disturbed.insert(data.draw(st.integers(first + 1, len(disturbed))), again)
    assert fold(disturbed) == fold(events)
    applied = [outcome for outcome in outcomes(disturbed) if isinstance(outcome, Applied)]
    assert len(applied) == len(events)


@given(histories(), st.data())
def test_of_two_writers_of_one_sequence_exactly_the_first_wins(
    events: list[KeyEvent], data: st.DataObject
) -> None:
    common = fold(events)
    one, other = data.draw(follow_ups(common)), data.draw(follow_ups(common))
    for first, second in [(one, other), (other, one)]:
        assert isinstance(apply(common, first), Applied)
        assert outcomes([*events, first, second])[-1] == Ignored("stale sequence")
        assert fold([*events, first, second]) == fold([*events, first])


@given(histories(), st.data())
def test_a_missing_event_parks_the_lineage_with_the_keys_it_had(
    events: list[KeyEvent], data: st.DataObject
) -> None:
    longer = [*events, data.draw(follow_ups(fold(events)))]
    missing = data.draw(st.integers(0, len(longer) - 2))
    known, rest = longer[:missing], longer[missing + 1 :]
    lineage = fold([*known, *rest])
    assert lineage.parked == f"gap: sequence {missing + 2} after {missing}"
    assert lineage.keys == (fold(known).keys if known else ())


@given(histories(), st.data())
def test_what_is_parked_stays_parked_and_unchanged(events: list[KeyEvent], data: st.DataObject) -> None:
    gap = events[-1].model_copy(update={"sequence": len(events) + 2})
    parked = fold([*events, gap])
    assert parked.parked is not None
    later = data.draw(st.lists(st.sampled_from([*events, gap]), max_size=6))
    assert fold([*events, gap, *later]) == parked


@given(st.data())
def test_events_in_any_order_never_break_the_fold(data: st.DataObject) -> None:
    """Whatever the log holds, the fold answers; sequences only rise and nothing leaves the parking."""
    events = data.draw(histories()) + data.draw(histories())
    lineage: Lineage | None = None
    for event in data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=20)):
        before = lineage or Lineage(event.partitionkey)
        outcome = apply(lineage, event)
        assert outcome == apply(lineage, event), "pure: asked twice, answered the same"
        if isinstance(outcome, Ignored):
            continue
        lineage = outcome.lineage
        assert before.parked is None
        assert lineage.sequence == before.sequence + isinstance(outcome, Applied)
        assert (lineage.parked is not None) == isinstance(outcome, Parked)


@given(histories())
def test_settings_and_lineage_are_the_same_for_every_key(events: list[KeyEvent]) -> None:
    first, *others = fold(events).keys
    assert all(key.settings == first.settings for key in others)
    assert {key.lineage_id for key in others} <= {first.lineage_id}
    issuing = [event for event in events if isinstance(event, KeyCreated | KeyRotated)]
    assert len(others) == len(issuing) - 1


@given(histories())
def test_revoking_the_current_key_leaves_no_secret_alive(events: list[KeyEvent]) -> None:
    lineage = fold([*events, a_key_revoked(fold(events))])
    assert not any(key.is_active(CREATED_AT) for key in lineage.keys)


@given(histories(), st.data())
def test_a_refingerprinting_changes_nothing_but_how_one_key_is_found(
    events: list[KeyEvent], data: st.DataObject
) -> None:
    before = fold(events)
    event = data.draw(refingerprintings(before))
    lineage = fold([*events, event])
    for old, new in zip(before.keys, lineage.keys, strict=True):
        if old.key_id == event.data.key_id:
            assert (new.fingerprint.hex(), new.pepper_id) == (event.data.fingerprint, event.data.pepper_id)
            new = new._replace(fingerprint=old.fingerprint, pepper_id=old.pepper_id)
        assert new == old


@given(histories(), st.data())
def test_a_refingerprinting_needs_no_keys_but_the_named_and_the_current_one(
    events: list[KeyEvent], data: st.DataObject
) -> None:
    """A reader that keeps no more of a lineage comes to the same."""
    before = fold(events)
    event = data.draw(refingerprintings(before))
    hot = {event.data.key_id, before.current.key_id}
    outcome = apply(_only(before, hot), event)
    assert isinstance(outcome, Applied)
    assert outcome.lineage == _only(fold([*events, event]), hot)


@pytest.mark.parametrize("kind", KEY_EVENTS)
def test_the_histories_here_have_every_lifecycle_event(kind: type[LineageEvent]) -> None:
    def is_there(events: list[KeyEvent]) -> bool:
        return any(isinstance(event, kind) for event in events)

    assert find(histories(), is_there)


def outcomes(events: list[KeyEvent]) -> list[Outcome]:
    found: list[Outcome] = []
    lineage: Lineage | None = None
    for event in events:
        found.append(apply(lineage, event))
        lineage = lineage if isinstance(found[-1], Ignored) else found[-1].lineage
    return found


def fold(events: list[KeyEvent]) -> Lineage:
    return next(
        outcome.lineage for outcome in reversed(outcomes(events)) if isinstance(outcome, Applied | Parked)
    )


def _only(lineage: Lineage, key_ids: set[str]) -> Lineage:
    return lineage._replace(keys=tuple(key for key in lineage.keys if key.key_id in key_ids))


def _unused(lineage: Lineage, number: int) -> bool:
    return lineage.find(key_id(number)) is None
