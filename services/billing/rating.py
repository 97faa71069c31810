"""What a month's use costs. Pure: quantities, a limit and a price in, exact decimals out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.billing.money import NOTHING, amount_of, difference


@dataclass(frozen=True, slots=True)
class Use:
    """What a lineage has used in a month. Time in microseconds."""

    requests: int = 0
    predictions: int = 0
    compute_us: int = 0


@dataclass(frozen=True, slots=True)
class Charge:
    """Use and what is to be paid for it: `billable_predictions` are those over the monthly limit."""

    use: Use = Use()
    billable_predictions: int = 0
    amount: Decimal = NOTHING

    def __sub__(self, billed: Charge) -> Charge:
        """What is still to be billed, negative where too much was."""
        return Charge(
            Use(
                self.use.requests - billed.use.requests,
                self.use.predictions - billed.use.predictions,
                self.use.compute_us - billed.use.compute_us,
            ),
            self.billable_predictions - billed.billable_predictions,
            difference(self.amount, billed.amount),
        )


def rate(use: Use, monthly_prediction_limit: int | None, unit_price: Decimal) -> Charge:
    """The charge for all of a month's use. Without a limit nothing is over it."""
    over_the_limit = use.predictions - (monthly_prediction_limit or 0)
    billable = 0 if monthly_prediction_limit is None else max(0, over_the_limit)
    return Charge(use, billable, amount_of(billable, unit_price))
