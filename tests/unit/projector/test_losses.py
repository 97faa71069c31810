"""Lifecycle events that the log has lost are made again from their rows, and come to the same lineage."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.codec import decode, encode
from events.keys import KEY_EVENTS, KeyEvent
from events.lineage import Applied, Lineage, apply
from services.projector.losses import KnownEvent, rebuilt
from tests.builders import CREATED_AT, a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting


def _history() -> list[KeyEvent]:
    """Each lifecycle event, and both keys with a fingerprint of later, the current one with a second."""
    created = a_key_created(lifetime_days=30, correlationid="r-1")
    rotated = a_key_rotated(created, valid_until=CREATED_AT + timedelta(days=1))
    return [
        created,
        rotated,
        a_refingerprinting(rotated, key_id=created.subject),
        a_refingerprinting(rotated, sequence=4),
        a_refingerprinting(rotated, sequence=5, pepper_id="p3"),
        a_key_revoked(rotated, sequence=6),
    ]


def test_no_lifecycle_event_is_left_out_here() -> None:
    assert {type(event) for event in _history()} == set(KEY_EVENTS)


@pytest.mark.parametrize("kept", range(6))
def test_whatever_is_lost_of_a_history_leads_to_the_same_lineage_again(kept: int) -> None:
    history = _history()
    lineage = _folded(history)
    again = [rebuilt(_row(event), lineage) for event in history[kept:]]
    assert [(event.id, type(event)) for event in again] == [
        (event.id, type(event)) for event in history[kept:]
    ]
    assert [decode(encode(event)) for event in again] == again
    assert _folded([*history[:kept], *again]) == lineage


def _row(event: KeyEvent) -> KnownEvent:
    """What the audit trail has of the event."""
    return KnownEvent(
        event.sequence,
        event.id,
        event.type,
        event.partitionkey,
        event.subject,
        event.sequence,
        event.time,
        event.actor,
        event.correlationid,
        "applied",
    )


def _folded(events: list[KeyEvent]) -> Lineage:
    lineage: Lineage | None = None
    for event in events:
        outcome = apply(lineage, event)
        assert isinstance(outcome, Applied), outcome
        lineage = outcome.lineage
    assert lineage is not None
    return lineage
