"""A statement is a function of the books: the same books, the same bytes."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from events.codec import decode_total, encode
from services.billing.drafting import Due, draft
from services.billing.prices import PRICES, Price
from services.billing.rating import Charge, Use
from tests.billing_builders import FEBRUARY, JANUARY, MARCH, an_hour, books
from tests.builders import fresh_id

APRIL = date(2026, 4, 1)


def test_a_month_rated_twice_gives_the_same_bytes_in_whatever_order_its_hours_come() -> None:
    first, other = sorted(fresh_id() for _ in range(2))
    hours = [
        an_hour(key_id, JANUARY, hour=hour, lineage_id=first, requests=hour + 1)
        for key_id in (first, other)
        for hour in range(24)
    ]
    statement = encode(draft(books(hours), JANUARY))
    random.Random(4).shuffle(hours)
    assert encode(draft(books(hours), JANUARY)) == statement
    assert encode(decode_total(statement)) == statement


def test_a_statement_says_what_it_was_computed_from_and_when_it_was_due() -> None:
    key_id = fresh_id()
    event = draft(books([an_hour(key_id, JANUARY, requests=12, predictions=30)], limit=10), JANUARY)
    assert event.id == event.partitionkey == f"{key_id}/2026-01"
    assert event.time == datetime(2026, 2, 3, tzinfo=UTC)
    assert event.data.revisions == {key_id: {"2026-01-01T00": 12}}
    (line,) = event.data.lines
    assert (line.kind, line.month, line.requests, line.predictions) == ("usage", "2026-01", 12, 30)
    assert (line.billable_predictions, str(line.unit_price), str(line.amount)) == (20, "0.001", "0.020000")
    assert (event.data.monthly_prediction_limit, str(event.data.total)) == (10, "0.020000")


def test_without_a_limit_and_without_charges_there_is_a_statement_all_the_same() -> None:
    statement = draft(books([an_hour(fresh_id(), JANUARY, requests=5)], limit=None), JANUARY).data
    assert statement.monthly_prediction_limit is None
    assert [(line.requests, line.billable_predictions) for line in statement.lines] == [(5, 0)]
    assert str(statement.total) == "0.000000"


def test_what_came_late_is_an_adjustment_after_the_months_own_line_and_names_what_has_changed() -> None:
    key_id = fresh_id()
    early, grown = an_hour(key_id, JANUARY), an_hour(key_id, JANUARY, hour=3, requests=9)
    own = an_hour(key_id, MARCH, requests=2)
    billed = {JANUARY: Charge(Use(5, 5, 5000), 5, Decimal("0.005"))}
    named = {(key_id, early.data.hour): 1, (key_id, grown.data.hour): 4}
    statement = draft(books([early, grown, own], named=named, billed=billed), MARCH).data
    assert [(line.kind, line.month, line.requests, line.amount) for line in statement.lines] == [
        ("usage", "2026-03", 2, Decimal("0.002")),
        ("adjustment", "2026-01", 5, Decimal("0.005")),
    ]
    assert statement.total == Decimal("0.007")
    assert statement.revisions == {key_id: {"2026-01-01T03": 9, "2026-03-01T00": 2}}


def test_each_line_has_the_price_of_its_own_month() -> None:
    key_id = fresh_id()
    hours = [an_hour(key_id, month, requests=10) for month in (JANUARY, FEBRUARY)]
    today_dearer = (*PRICES, Price(FEBRUARY, Decimal("0.005")))
    assert encode(draft(books(hours[:1]), JANUARY, today_dearer)) == encode(draft(books(hours[:1]), JANUARY))
    february = draft(books(hours), FEBRUARY, today_dearer).data
    assert [str(line.amount) for line in february.lines] == ["0.050000", "0.010000"]


@pytest.mark.parametrize(
    ("open_months", "late_months", "last_closed", "next_month"),
    [
        ([JANUARY, MARCH], [], None, JANUARY),
        ([], [JANUARY], JANUARY, FEBRUARY),
        ([MARCH], [JANUARY], JANUARY, FEBRUARY),
        ([JANUARY], [FEBRUARY], FEBRUARY, JANUARY),
        ([], [JANUARY], MARCH, APRIL),
        ([], [JANUARY], APRIL, None),
        ([], [JANUARY], date(9999, 12, 1), None),
        ([FEBRUARY], [JANUARY], APRIL, FEBRUARY),
    ],
    ids=[
        "the oldest first",
        "late use comes with the month after the last statement",
        "which comes before a later month with use of its own",
        "a month without a statement gets it late",
        "never between statements",
        "not before it is due",
        "nor after the end of time",
        "own use waits for nothing",
    ],
)
def test_the_month_that_is_closed_next(
    open_months: list[date], late_months: list[date], last_closed: date | None, next_month: date | None
) -> None:
    assert Due(fresh_id(), open_months, late_months, last_closed).next_month(last_due=APRIL) == next_month
