"""A lineage survives its rows; a record's row says what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from events.lifecycle import fold
from events.lineage import Lineage
from services.projector.rows import event_row, key_rows, lineage_id_of, lineage_row, lineages_from_rows
from tests.builders import (
    CREATED_AT,
    StoredRecord,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    fresh_id,
    lifecycle_record,
)


def _lineages() -> dict[str, Lineage]:
    rich = a_key_created(
        scopes=("read", "train"),
        allowed_ips=("10.0.0.0/8",),
        monthly_prediction_limit=7,
        lifetime_days=30,
        expires_at=CREATED_AT + timedelta(days=30),
    )
    grace = a_key_rotated(rich, valid_until=CREATED_AT + timedelta(hours=1))
    gap = a_key_revoked(a_key_rotated(a_key_created()))
    lineages: dict[str, Lineage] = {}
    other = a_key_created()
    for event in (rich, grace, a_key_revoked(grace), other, a_refingerprinting(other), gap):
        folded = fold(lifecycle_record(event), lineages.get)
        assert folded.lineage is not None
        lineages[folded.lineage.lineage_id] = folded.lineage
    return lineages


def test_lineages_come_back_from_their_rows_as_they_were() -> None:
    lineages = _lineages()
    rows = [lineage_row(lineage) for lineage in lineages.values()]
    keys = [row for lineage in lineages.values() for row in key_rows(lineage)]
    assert lineages_from_rows(rows, keys) == lineages
    assert any(lineage.parked and not lineage.keys for lineage in lineages.values())


def test_the_row_of_a_record_tells_the_event_and_its_outcome() -> None:
    created = a_key_created(actor="ada", correlationid="r-1")
    record = lifecycle_record(created, offset=12, partition=3)
    assert event_row(record, fold(record, _nothing_known)) == (
        "keys.lifecycle",
        3,
        12,
        created.partitionkey,
        created.subject,
        created.id,
        "hokusai.auth.KeyCreated.v1",
        1,
        datetime(2026, 1, 15, 10, 30, tzinfo=UTC),
        "ada",
        "r-1",
        "applied",
    )


def test_the_row_of_a_refingerprinting_has_no_fingerprint() -> None:
    created = a_key_created()
    event = a_refingerprinting(created, actor="api")
    record = lifecycle_record(event, offset=13)
    before = fold(lifecycle_record(created), _nothing_known).lineage
    row = event_row(record, fold(record, lambda lineage_id: before))
    assert row[3:] == (
        created.partitionkey,
        created.subject,
        event.id,
        "hokusai.auth.KeyRefingerprinted.v1",
        2,
        event.time,
        "api",
        None,
        "applied",
    )


def test_the_row_of_an_unreadable_record_has_its_place_and_why() -> None:
    lineage_id = fresh_id()
    record = StoredRecord(offset=5, key=lineage_id.encode(), value=b"{")
    row = event_row(record, fold(record, _nothing_known))
    assert row == ("keys.lifecycle", 0, 5, lineage_id, *(None,) * 7, "json_invalid")


@pytest.mark.parametrize(
    "key", [None, b"", b"\x00", b"\xff" * 36, b"01A20CE2-9BCF-7139-9A6F-3D6065E06BBE", b"1" * 36]
)
def test_a_record_key_that_is_no_lineage_id_names_no_lineage(key: bytes | None) -> None:
    assert lineage_id_of(StoredRecord(key=key)) is None


def test_a_record_key_with_a_newline_at_its_end_names_no_lineage() -> None:
    lineage_id = fresh_id()
    assert lineage_id_of(StoredRecord(key=lineage_id.encode())) == lineage_id
    assert lineage_id_of(StoredRecord(key=lineage_id.encode() + b"\n")) is None


def _nothing_known(lineage_id: str) -> Lineage | None:
    return None
