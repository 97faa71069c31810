"""Billing: what it keeps, and the closing of months beside it, made here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from psycopg import AsyncConnection

from events.clock import Clock
from events.kafka_cluster import end_offsets
from events.keeper.process import Keeper, Kept, Opened, Work
from events.projection import OUTAGES
from events.queries import load_queries
from events.waiting import wait_for
from services.billing.accounts import AccountsProjection
from services.billing.books import open_books
from services.billing.closing import Closing
from services.billing.ledger import LedgerProjection
from services.billing.metrics import BillingMetrics
from services.billing.ports import Books
from services.billing.schema import billing_schema
from services.billing.settings import BillingSettings
from services.billing.statements import StatementsProjection

_QUERIES = load_queries("services.billing")

OpenBooks = Callable[[str], AbstractAsyncContextManager[Books]]


async def run(settings: BillingSettings, stopping: asyncio.Event, clock: Clock | None = None) -> None:
    """Keep the schema `billing` and close months until `stopping` is set.

    `clock` decides what is due; by default this machine's. Raises `SettingsError` or `WrongLog`.
    """
    metrics = BillingMetrics()
    closing = closing_of_months(settings, metrics, clock or Clock(follows_steps=False))
    await Keeper(settings, books_of(settings, metrics, closing), metrics).run(stopping)


def books_of(settings: BillingSettings, metrics: BillingMetrics, closing: Work) -> Kept:
    """What billing keeps, and the work beside it."""

    async def count_outgoing(connection: AsyncConnection[Any]) -> None:
        row = await (await connection.execute(_QUERIES["count_outgoing"])).fetchone()
        assert row is not None
        metrics.statements_outgoing.set(row[0])

    return Kept(
        schema=billing_schema(),
        topics=[settings.hourly_usage, settings.lifecycle, settings.statements],
        projections=[
            projection(settings, metrics.unreadable_records.labels(projection.name).inc)
            for projection in (LedgerProjection, AccountsProjection, StatementsProjection)
        ],
        works=[closing],
        probe=count_outgoing,
    )


def closing_of_months(
    settings: BillingSettings, metrics: BillingMetrics, clock: Clock, books: OpenBooks = open_books
) -> Work:
    """The work that looks for months that are due and closes them."""
    topics = [settings.hourly_usage, settings.lifecycle, settings.statements]

    async def work(opened: Opened) -> None:
        closing = Closing(
            opened.log, settings.statements.name, lambda: end_offsets(settings, topics), clock, metrics
        )

        async def look() -> None:
            async with books(settings.database_url) as found:
                await closing.look(found)

        while True:
            await wait_for("Postgres and Kafka, to close months", look, OUTAGES)
            await asyncio.sleep(settings.closing_interval_seconds)

    return work
