"""Amounts of money: exact decimals, and the only place that rounds."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

#: The grain of every amount, in US dollars.
GRAIN = Decimal("0.000001")
NOTHING = Decimal(0).quantize(GRAIN)


def amount_of(quantity: int, unit_price: Decimal) -> Decimal:
    """What so many cost, half a grain rounded up as Postgres does."""
    return (quantity * unit_price).quantize(GRAIN, ROUND_HALF_UP)


def difference(more: Decimal, less: Decimal) -> Decimal:
    """Exact: both are whole grains."""
    return (more - less).quantize(GRAIN)


def total_of(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, NOTHING).quantize(GRAIN)
