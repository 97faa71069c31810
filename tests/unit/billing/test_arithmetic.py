"""The auditor's arithmetic: bills that add up are left alone, and each way not to is found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from events.totals import HourlyUsage, Statement
from services.billing.accounts import Account
from services.billing.arithmetic import mistakes
from services.billing.drafting import draft
from services.billing.ledger import ledger_row
from services.billing.rating import Charge, Use
from tests.billing_builders import FEBRUARY, JANUARY, an_hour, books
from tests.builders import fresh_id

KEY_ID = fresh_id()
ACCOUNT = Account(KEY_ID, "free", 2)
EARLY, LATE = an_hour(KEY_ID, JANUARY, requests=5), an_hour(KEY_ID, JANUARY, hour=9, requests=7)
FIRST = draft(books([EARLY], limit=2), JANUARY).data
BILLED = {JANUARY: Charge(Use(5, 5, 5000), 3, Decimal("0.003"))}
SECOND = draft(books([EARLY, LATE], 2, {(KEY_ID, EARLY.data.hour): 5}, BILLED), FEBRUARY).data


def _mistakes(*statements: Statement, hours: tuple[HourlyUsage, ...] = (EARLY, LATE)) -> list[str]:
    accounts = {KEY_ID: ACCOUNT}
    named: Mapping[tuple[str, datetime], int] = {
        (one.data.key_id, one.data.hour): one.data.revision for one in (EARLY, LATE)
    }
    return list(mistakes(statements, accounts, [ledger_row(one.data) for one in hours], named))


def test_statements_that_sum_to_what_use_costs_are_right() -> None:
    assert [line.kind for line in SECOND.lines] == ["usage", "adjustment"]
    assert _mistakes(FIRST, SECOND) == []


def test_a_month_whose_bills_are_not_what_its_use_costs_is_found() -> None:
    (mistake,) = _mistakes(FIRST)
    assert mistake == f"lineage {KEY_ID}: what was billed for 2026-01 is not what its use costs"


def test_use_that_no_statement_has_named_yet_is_no_mistake() -> None:
    assert _mistakes(FIRST, SECOND, hours=(an_hour(KEY_ID, JANUARY, requests=50), LATE)) == []


def _with(**statement: Any) -> Statement:
    return SECOND.model_copy(update=statement)


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (_with(total=Decimal(1)), "the total is not the sum"),
        (_with(monthly_prediction_limit=3), "not on the terms"),
        (_with(billing_plan="gold"), "not on the terms"),
        (_with(lines=SECOND.lines[::-1]), "lines in another order"),
        (_with(lines=(SECOND.lines[0], *SECOND.lines)), "lines in another order"),
        (
            _with(lines=(SECOND.lines[0], SECOND.lines[1].model_copy(update={"kind": "usage"}))),
            "calls the line of 2026-01 usage",
        ),
        (
            _with(lines=(SECOND.lines[0], SECOND.lines[1].model_copy(update={"unit_price": Decimal(1)}))),
            "not quantity times price",
        ),
        (
            _with(lines=(SECOND.lines[0], SECOND.lines[1].model_copy(update={"amount": Decimal(0)}))),
            "not quantity times price",
        ),
    ],
    ids=["total", "limit", "plan", "order", "twice", "kind", "price", "amount"],
)
def test_a_statement_that_does_not_add_up_is_found(wrong: Statement, mistake: str) -> None:
    assert any(mistake in found for found in _mistakes(FIRST, wrong))
