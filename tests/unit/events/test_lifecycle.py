"""What one record of `keys.lifecycle` does to what is known, whoever reads it."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from events.codec import encode
from events.errors import UnreadableRecord
from events.keys import KEY_EVENTS, KeyEvent
from events.lifecycle import Folded, Unreadable, fold, read_event
from events.lineage import Applied, Ignored, Lineage, Parked, apply
from events.log import OVERSIZED_HEADER
from tests.bcrypt_hashes import BAD
from tests.builders import (
    StoredRecord,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    fresh_id,
    lifecycle_record,
    some_usage,
)

CREATED = a_key_created()


def knowing(*events: KeyEvent) -> dict[str, Lineage]:
    lineages: dict[str, Lineage] = {}
    for event in events:
        outcome = apply(lineages.get(event.partitionkey), event)
        assert isinstance(outcome, Applied)
        lineages[event.partitionkey] = outcome.lineage
    return lineages


def folded(record: StoredRecord, *known: KeyEvent) -> Folded:
    return fold(record, knowing(*known).get)


UNREADABLE = {
    "no value": (replace(lifecycle_record(CREATED), value=None), "no value"),
    "too large to be unpacked": (
        replace(lifecycle_record(CREATED), value=None, headers=((OVERSIZED_HEADER, b"20000000 bytes"),)),
        "oversized: 20000000 bytes when unpacked",
    ),
    "broken json": (replace(lifecycle_record(CREATED), value=b"{"), "json_invalid"),
    "another topic's event": (
        replace(lifecycle_record(CREATED), value=encode(some_usage(key_id=CREATED.subject))),
        "not a lifecycle event",
    ),
    "another key": (
        replace(lifecycle_record(a_key_created()), key=CREATED.subject.encode()),
        "record key differs from partitionkey",
    ),
}
every_unreadable = pytest.mark.parametrize(("record", "why"), UNREADABLE.values(), ids=UNREADABLE)


EVENTS = [CREATED, a_key_rotated(CREATED), a_key_revoked(CREATED), a_refingerprinting(CREATED)]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_lifecycle_event_is_read_from_its_record(event: KeyEvent) -> None:
    assert read_event(lifecycle_record(event)) == event


def test_no_lifecycle_event_is_left_out_here() -> None:
    assert {type(event) for event in EVENTS} == set(KEY_EVENTS)


@every_unreadable
def test_what_is_no_lifecycle_event_is_not_read(record: StoredRecord, why: str) -> None:
    with pytest.raises(UnreadableRecord, match=f"^{why}$"):
        read_event(record)


def test_an_event_without_a_record_key_is_not_read() -> None:
    """Without a key it may lie in any partition, and overtake what it follows on."""
    with pytest.raises(UnreadableRecord, match=r"^no record key$"):
        read_event(replace(lifecycle_record(CREATED), key=None))


def test_a_readable_record_does_to_its_lineage_what_its_event_does() -> None:
    rotated = a_key_rotated(CREATED)
    result = folded(lifecycle_record(rotated), CREATED)
    assert result.event == rotated
    assert result.lineage == knowing(CREATED, rotated)[CREATED.subject]
    assert (result.is_dead_letter, result.description) == (False, "applied")


def test_a_repeated_record_changes_nothing_and_is_no_dead_letter() -> None:
    result = folded(lifecycle_record(CREATED), CREATED)
    assert result == Folded(CREATED, Ignored("stale sequence"))
    assert (result.lineage, result.is_dead_letter) == (None, False)
    assert result.description == "stale sequence"


def test_a_gap_parks_the_lineage_and_is_a_dead_letter() -> None:
    result = folded(lifecycle_record(a_key_revoked(CREATED, sequence=5)), CREATED)
    assert isinstance(result.outcome, Parked)
    assert result.lineage is not None
    assert result.lineage.parked == result.description == "gap: sequence 5 after 1"
    assert result.is_dead_letter


def test_a_later_event_of_a_parked_lineage_is_ignored_and_no_dead_letter() -> None:
    """Its letter is the record that parked it; a flood of letters would hide that one."""
    parked = knowing(CREATED)[CREATED.subject]._replace(parked="because")
    result = fold(lifecycle_record(a_key_revoked(CREATED)), {CREATED.subject: parked}.get)
    assert (result.lineage, result.is_dead_letter, result.description) == (None, False, "parked")


@every_unreadable
def test_an_unreadable_record_under_a_known_lineage_parks_it(record: StoredRecord, why: str) -> None:
    """It may be the revocation of the key."""
    result = folded(record, CREATED)
    assert result.event is None
    assert result.lineage == knowing(CREATED)[CREATED.subject]._replace(parked=f"unreadable record: {why}")
    assert result.is_dead_letter


@every_unreadable
def test_an_unreadable_record_of_nobody_changes_nothing(record: StoredRecord, why: str) -> None:
    stranger = replace(record, key=fresh_id().encode())
    expected = "record key differs from partitionkey" if why == UNREADABLE["another key"][1] else why
    result = folded(stranger, CREATED)
    assert result == Folded(None, Unreadable(expected))
    assert (result.lineage, result.is_dead_letter) == (None, True)


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"\x00", b"01A20CE2-9BCF-7139-9A6F-3D6065E06BBE"])
def test_an_unreadable_record_with_any_key_is_answered(key: bytes | None) -> None:
    result = folded(StoredRecord(key=key, value=b"{"), CREATED)
    assert result == Folded(None, Unreadable("json_invalid"))


def test_an_unreadable_record_does_not_park_twice() -> None:
    parked = knowing(CREATED)[CREATED.subject]._replace(parked="because")
    result = fold(replace(lifecycle_record(CREATED), value=b"{"), {CREATED.subject: parked}.get)
    assert result == Folded(None, Ignored("parked"))
    assert (result.lineage, result.is_dead_letter) == (None, True)


def test_a_creation_that_cannot_be_read_closes_its_lineage_with_the_next_event() -> None:
    """Nobody knows the lineage yet, so nothing is parked then; what follows meets a gap."""
    assert folded(replace(lifecycle_record(CREATED), value=b"{")).lineage is None
    later = folded(lifecycle_record(a_key_rotated(CREATED)))
    assert later.lineage == Lineage(CREATED.subject, parked="gap: sequence 2 after 0")


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_created_key_whose_hash_nobody_could_check_does_not_come_into_being(bad: str) -> None:
    outcome = folded(_with_hash(CREATED, bad))

    assert isinstance(outcome.outcome, Unreadable)
    assert outcome.lineage is None
    assert outcome.is_dead_letter


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_rotation_to_a_key_whose_hash_nobody_could_check_closes_its_lineage(bad: str) -> None:
    """The old key was to die: it must not live on because its successor can't be understood."""
    outcome = folded(_with_hash(a_key_rotated(CREATED), bad), CREATED)

    assert isinstance(outcome.outcome, Parked)
    assert outcome.outcome.lineage.parked is not None
    assert outcome.is_dead_letter


def test_what_follows_on_a_key_that_did_not_come_into_being_closes_its_lineage() -> None:
    outcome = folded(lifecycle_record(a_key_rotated(CREATED)))

    assert isinstance(outcome.outcome, Parked)
    assert outcome.outcome.lineage.keys == ()


def _with_hash(event: KeyEvent, bcrypt_hash: str) -> StoredRecord:
    written = orjson.loads(encode(event))
    written["data"].get("new_key", written["data"])["bcrypt_hash"] = bcrypt_hash
    return replace(lifecycle_record(event), value=orjson.dumps(written))
