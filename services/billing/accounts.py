"""`keys.lifecycle` -> `billing.account`: whom to bill, and on what terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.keys import KeyCreated
from events.log import Record
from events.queries import load_queries
from events.topics import Topics
from services.billing.reading import read_created, readable

_QUERIES = load_queries("services.billing")


class Account(NamedTuple):
    """The terms of a lineage. Rotation changes neither, so they are those that it was created with."""

    lineage_id: str
    billing_plan: str
    monthly_prediction_limit: int | None


class AccountsProjection:
    """Keeps the terms that each lineage began with; whatever happens to its keys later changes no bill."""

    name = "accounts"
    dead_letter_topic = None

    def __init__(self, topics: Topics, on_unreadable: Callable[[], None]) -> None:
        self.topic = topics.lifecycle
        self._on_unreadable = on_unreadable

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """See `Projection.apply`."""
        accounts: dict[str, Account] = {}
        for _, created in readable(records, read_created, self._on_unreadable):
            if created is not None:
                accounts.setdefault(created.data.lineage_id, account_of(created))
        if accounts:
            rows = [accounts[lineage_id] for lineage_id in sorted(accounts)]
            columns = dict(zip(Account._fields, map(list, zip(*rows, strict=True)), strict=True))
            await connection.execute(_QUERIES["write_accounts"], columns)
        return ()


def account_of(created: KeyCreated) -> Account:
    key = created.data
    return Account(key.lineage_id, key.billing_plan, key.monthly_prediction_limit)
