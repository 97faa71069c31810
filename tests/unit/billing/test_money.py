"""Amounts are whole grains of a millionth; halves are rounded as Postgres rounds them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.billing.money import NOTHING, amount_of, difference, total_of


@pytest.mark.parametrize(
    ("quantity", "unit_price", "amount"),
    [
        (3, "0.001", "0.003000"),
        (1, "0.0000005", "0.000001"),
        (1, "0.00000049", "0.000000"),
        (10**18, "0.001", "1000000000000000.000000"),
    ],
    ids=["exact", "half a grain", "less than half", "huge"],
)
def test_an_amount_is_written_in_grains(quantity: int, unit_price: str, amount: str) -> None:
    assert str(amount_of(quantity, Decimal(unit_price))) == amount


def test_sums_and_differences_are_written_in_grains_whatever_they_are_made_of() -> None:
    assert str(total_of([])) == str(NOTHING) == "0.000000"
    assert str(total_of([Decimal("1.5"), Decimal("0.000001")])) == "1.500001"
    assert str(difference(Decimal("1"), Decimal("1.50"))) == "-0.500000"
