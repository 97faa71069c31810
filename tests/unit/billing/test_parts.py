"""A statement that a record does not take: its parts are small enough, and together they say the same."""

from __future__ import annotations

import pytest

from events.codec import decode_total, encode
from events.totals import Revisions, StatementClosed, StatementRevisions
from services.billing.drafting import draft
from services.billing.parts import digest_of, records_of
from tests.billing_builders import JANUARY, a_statement, an_hour, books
from tests.builders import fresh_id

LIMIT = 3000


def _large(keys: int = 9) -> StatementClosed:
    lineage_id = fresh_id()
    hours = [
        an_hour(key_id, JANUARY, hour=hour, lineage_id=lineage_id, requests=10**hour % 997 + 1)
        for key_id in (fresh_id() for _ in range(keys))
        for hour in range(24)
    ]
    return draft(books(hours), JANUARY)


def test_what_fits_into_a_record_is_one_to_the_byte() -> None:
    statement = a_statement()
    assert records_of(statement) == {1: encode(statement)}
    assert b"parts" not in encode(statement)


def test_parts_are_small_enough_and_together_they_are_the_statement() -> None:
    statement = _large()
    parts = records_of(statement, LIMIT)
    assert len(parts) > 2
    assert list(parts) == list(range(1, len(parts) + 1))
    assert max(map(len, parts.values())) <= LIMIT
    assert min(len(value) for part, value in parts.items() if part != len(parts)) > LIMIT * 0.6
    first, *others = map(decode_total, parts.values())
    assert isinstance(first, StatementClosed)
    assert first.data.lines == statement.data.lines
    assert (first.data.total, first.data.parts) == (statement.data.total, len(parts))
    together: Revisions = {}
    for event in (first, *others):
        assert isinstance(event, StatementClosed | StatementRevisions)
        assert event.data.digest == digest_of(statement.data.revisions)
        for key_id, hours in event.data.revisions.items():
            together.setdefault(key_id, {}).update(hours)
    assert together == statement.data.revisions


def test_the_same_statement_has_the_same_parts() -> None:
    statement = _large()
    assert records_of(statement, LIMIT) == records_of(statement.model_copy(deep=True), LIMIT)


def test_a_statement_whose_lines_no_record_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="its lines alone have"):
        records_of(_large(), 500)
