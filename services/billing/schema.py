"""The schema `billing`, as the keeper makes it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from events.keeper.schema import Schema
from services.billing.prices import PRICES, Price

#: Raise it with every change of `schema.sql`, or of what the projections make of a record.
SCHEMA_VERSION = 3


def billing_schema(prices: Sequence[Price] = PRICES) -> Schema:
    """The schema with these prices in it; a price that is added makes it anew."""
    tables = files(__package__).joinpath("schema.sql").read_text("utf-8")
    rows = ", ".join(f"('{price.valid_from.isoformat()}', {price.overage:f})" for price in prices)
    return Schema(
        name="billing",
        version=1000 * SCHEMA_VERSION + len(prices),
        definition=f"{tables}\nINSERT INTO billing.price (valid_from, overage) VALUES {rows};\n",
    )
