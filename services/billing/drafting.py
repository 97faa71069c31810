"""The books of a lineage -> the statement that closes its month. Pure: the same books, the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from events.totals import Statement, StatementClosed, StatementLine, hour_text
from services.billing.accounts import Account
from services.billing.money import total_of
from services.billing.months import due_at, following, month_text
from services.billing.prices import PRICES, Price, price_of
from services.billing.rating import Charge, Use, rate

SOURCE = "hokusai-auth/billing"


@dataclass(frozen=True, slots=True)
class Due:
    """A lineage with use, in months that are due, which no statement has named.

    `open_months` have no statement yet, `late_months` have one; both oldest first.
    """

    lineage_id: str
    open_months: Sequence[date]
    late_months: Sequence[date]
    last_closed: date | None

    def next_month(self, last_due: date) -> date | None:
        """The month that is closed next: one with use of its own, or the first after the last statement.

        The latter brings what was told late of months before; None while it is not due.
        """
        months = list(self.open_months[:1])
        if self.late_months and self.last_closed is not None and self.last_closed < last_due:
            months.append(following(self.last_closed))
        return min(months, default=None)


@dataclass(frozen=True, slots=True)
class LineageBooks:
    """All that a statement of a lineage is computed from.

    `use`: of each month up to the one that is closed, where something in it was not named by a statement.
    `unnamed`: key, hour and revision of just that, sorted. `billed`: by all statements so far.
    """

    account: Account
    use: Mapping[date, Use]
    unnamed: Sequence[tuple[str, datetime, int]]
    billed: Mapping[date, Charge]


def draft(books: LineageBooks, month: date, prices: Sequence[Price] = PRICES) -> StatementClosed:
    """The statement of that month: its own use, and what is not yet billed of months before it."""
    account = books.account
    lines = [_line(books, month, month, prices)]
    lines += [_line(books, month, late, prices) for late in sorted(books.use) if late < month]
    partitionkey = f"{account.lineage_id}/{month_text(month)}"
    revisions: dict[str, dict[str, int]] = {}
    for key_id, hour, revision in books.unnamed:
        revisions.setdefault(key_id, {})[hour_text(hour)] = revision
    return StatementClosed(
        id=partitionkey,
        source=SOURCE,
        time=due_at(month),
        subject=account.lineage_id,
        partitionkey=partitionkey,
        data=Statement(
            lineage_id=account.lineage_id,
            month=month_text(month),
            billing_plan=account.billing_plan,
            monthly_prediction_limit=account.monthly_prediction_limit,
            lines=tuple(lines),
            total=total_of(line.amount for line in lines),
            revisions=revisions,
        ),
    )


def _line(books: LineageBooks, closed: date, month: date, prices: Sequence[Price]) -> StatementLine:
    unit_price = price_of(month, prices)
    charge = Charge()
    if month in books.use:
        whole = rate(books.use[month], books.account.monthly_prediction_limit, unit_price)
        charge = whole - books.billed.get(month, Charge())
    return StatementLine(
        kind="usage" if month == closed else "adjustment",
        month=month_text(month),
        requests=charge.use.requests,
        predictions=charge.use.predictions,
        compute_us=charge.use.compute_us,
        billable_predictions=charge.billable_predictions,
        unit_price=unit_price,
        amount=charge.amount,
    )
