"""What a prediction over the monthly limit costs: one dated table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple


class Price(NamedTuple):
    """US dollars for each prediction over the limit, in every month from `valid_from`, the first of one."""

    valid_from: date
    overage: Decimal


#: Oldest first. A new price is a new row, for a month to come; rows that months were billed by never change.
PRICES: Sequence[Price] = (Price(date.min, Decimal("0.001")),)


def price_of(month: date, prices: Sequence[Price] = PRICES) -> Decimal:
    """The price of that month, whatever it costs today."""
    return next(price.overage for price in reversed(prices) if price.valid_from <= month)
