"""Do the statements add up? Each in itself, and all of a lineage together against the rating of its use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import reduce

from events.totals import Statement, StatementLine
from services.billing.accounts import Account
from services.billing.ledger import LedgerRow
from services.billing.money import amount_of, total_of
from services.billing.months import month_of
from services.billing.prices import price_of
from services.billing.rating import Charge, Use, rate
from services.billing.reading import parse_month

Named = Mapping[tuple[str, datetime], int]
MonthOfLineage = tuple[str, date]


def mistakes(
    statements: Sequence[Statement],
    accounts: Mapping[str, Account],
    ledger: Iterable[LedgerRow],
    named: Named,
) -> Iterator[str]:
    """One sentence for each statement or month that does not add up.

    Months are compared with the ledger where it has just the revisions that statements have named.
    """
    for statement in statements:
        yield from _mistakes_within(statement, accounts.get(statement.lineage_id))
    billed = _billed(statements)
    for (lineage_id, month), use in _whole_months(ledger, named).items():
        account = accounts.get(lineage_id)
        if account is None:
            continue
        wanted = rate(use, account.monthly_prediction_limit, price_of(month))
        if billed.get((lineage_id, month), Charge()) != wanted:
            yield f"lineage {lineage_id}: what was billed for {month:%Y-%m} is not what its use costs"


def _mistakes_within(statement: Statement, account: Account | None) -> Iterator[str]:
    name = f"statement {statement.lineage_id}/{statement.month}"
    terms = (statement.lineage_id, statement.billing_plan, statement.monthly_prediction_limit)
    if account != terms:
        yield f"{name} is not on the terms of its account"
    months = [line.month for line in statement.lines]
    if months[0] != statement.month or months[1:] != sorted(set(months) - {statement.month}):
        yield f"{name} has lines in another order than by month, its own first"
    for line in statement.lines:
        if line.kind != ("usage" if line.month == statement.month else "adjustment"):
            yield f"{name} calls the line of {line.month} {line.kind}"
        price = price_of(parse_month(line.month))
        if line.unit_price != price or line.amount != amount_of(line.billable_predictions, price):
            yield f"{name}: the amount of {line.month} is not quantity times price"
    if statement.total != total_of(line.amount for line in statement.lines):
        yield f"{name}: the total is not the sum of its lines"


def _billed(statements: Iterable[Statement]) -> Mapping[MonthOfLineage, Charge]:
    """What all statements of a lineage have billed for each month."""
    lines: defaultdict[MonthOfLineage, list[StatementLine]] = defaultdict(list)
    for statement in statements:
        for line in statement.lines:
            lines[statement.lineage_id, parse_month(line.month)].append(line)
    return {
        place: Charge(
            Use(
                sum(line.requests for line in billed),
                sum(line.predictions for line in billed),
                sum(line.compute_us for line in billed),
            ),
            sum(line.billable_predictions for line in billed),
            total_of(line.amount for line in billed),
        )
        for place, billed in lines.items()
    }


def _whole_months(ledger: Iterable[LedgerRow], named: Named) -> Mapping[MonthOfLineage, Use]:
    """The use of each lineage's months of which every hour was named in the revision that it has."""
    hours: defaultdict[MonthOfLineage, list[LedgerRow]] = defaultdict(list)
    for row in ledger:
        hours[row.lineage_id, month_of(row.hour)].append(row)
    return {
        place: reduce(_plus, rows, Use())
        for place, rows in hours.items()
        if all(named.get((row.key_id, row.hour)) == row.revision for row in rows)
    }


def _plus(use: Use, row: LedgerRow) -> Use:
    return Use(
        use.requests + row.requests, use.predictions + row.predictions, use.compute_us + row.compute_us
    )
