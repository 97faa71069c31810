"""Each month has its own price."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from services.billing.prices import PRICES, Price, price_of

DEARER = (*PRICES, Price(date(2026, 3, 1), Decimal("0.002")))


def test_a_prediction_costs_a_tenth_of_a_cent() -> None:
    assert price_of(date(2026, 11, 1)) == Decimal("0.001")
    assert price_of(date(1970, 1, 1)) == Decimal("0.001")


def test_a_price_is_valid_from_its_month_on_and_changes_none_before() -> None:
    assert price_of(date(2026, 2, 1), DEARER) == Decimal("0.001")
    assert price_of(date(2026, 3, 1), DEARER) == Decimal("0.002")
    assert price_of(date(2031, 1, 1), DEARER) == Decimal("0.002")


def test_prices_are_in_order_and_begin_with_a_month() -> None:
    assert list(PRICES) == sorted(PRICES)
    assert all(price.valid_from.day == 1 for price in PRICES)
