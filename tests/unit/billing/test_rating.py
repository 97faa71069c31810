"""Rating is exact: however use is cut into statements and adjustments, the bills sum to the rating of all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.rating import Charge, Use, rate

PRICE = Decimal("0.001")

quantities = st.integers(min_value=0, max_value=10**12)
uses = st.builds(Use, quantities, quantities, quantities)
limits = st.none() | st.integers(min_value=0, max_value=10**12)


@pytest.mark.parametrize(
    ("predictions", "limit", "billable", "amount"),
    [
        (0, 0, 0, "0"),
        (1, 0, 1, "0.001"),
        (1000, 1000, 0, "0"),
        (1001, 1000, 1, "0.001"),
        (1500, 1000, 500, "0.5"),
        (10**15, None, 0, "0"),
    ],
    ids=["no use", "limit zero", "at the limit", "one over", "far over", "no limit"],
)
def test_predictions_over_the_limit_are_paid_for(
    predictions: int, limit: int | None, billable: int, amount: str
) -> None:
    charge = rate(Use(predictions=predictions), limit, PRICE)
    assert (charge.billable_predictions, charge.amount) == (billable, Decimal(amount))


@given(st.lists(uses, min_size=1, max_size=6), limits)
def test_what_is_billed_bit_by_bit_sums_to_the_rating_of_all(parts: list[Use], limit: int | None) -> None:
    """Each part comes after a statement: what it adds is billed by the next one."""
    known, billed, lines = Use(), Charge(), list[Charge]()
    for part in parts:
        known = _plus(known, part)
        lines.append(rate(known, limit, PRICE) - billed)
        billed = _sum(lines)
    whole = rate(known, limit, PRICE)
    assert billed == whole
    assert all(line.amount == line.billable_predictions * PRICE for line in lines)
    assert str(sum(line.amount for line in lines)) == str(whole.amount)


def _plus(one: Use, other: Use) -> Use:
    return Use(
        one.requests + other.requests,
        one.predictions + other.predictions,
        one.compute_us + other.compute_us,
    )


def _sum(lines: list[Charge]) -> Charge:
    use = Use()
    for line in lines:
        use = _plus(use, line.use)
    return Charge(
        use,
        sum(line.billable_predictions for line in lines),
        sum((line.amount for line in lines), Decimal(0)),
    )
