"""Billing: what it keeps, and the closing of months beside it, made here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from events.clock import Clock
from events.kafka_cluster import end_offsets
from events.keeper.process import Keeper, Kept, Opened, Work
from events.log import EventLog
from events.projection import OUTAGES
from events.queries import load_queries
from events.usage_progress import broker_time
from events.waiting import wait_for
from services.billing.accounts import AccountsProjection
from services.billing.books import open_books
from services.billing.closing import Closing
from services.billing.delivery import Delivery
from services.billing.ledger import LedgerProjection
from services.billing.metrics import BillingMetrics
from services.billing.ports import Books
from services.billing.progress import ProgressProjection
from services.billing.schema import billing_schema
from services.billing.settings import BillingSettings
from services.billing.statements import StatementsProjection
from services.billing.watermark import Watermark

_QUERIES = load_queries("services.billing")

#: Of a log and a topic in its broker's time.
AskBroker = Callable[[EventLog, str], Awaitable[datetime]]
OpenBooks = Callable[[str], AbstractAsyncContextManager[Books]]


async def run(
    settings: BillingSettings,
    stopping: asyncio.Event,
    clock: Clock | None = None,
    ask_broker: AskBroker = broker_time,
) -> None:
    """Keep the schema `billing` and close months until `stopping` is set.

    `clock`, by default this machine's, and `ask_broker` decide what is due. Raises `SettingsError` or
    `WrongLog`.
    """
    metrics = BillingMetrics()
    closing = ClosingOfMonths(settings, metrics, clock or Clock(follows_steps=False), ask_broker=ask_broker)
    kept = books_of(settings, metrics, closing.work, closing.is_going_on)
    await Keeper(settings, kept, metrics).run(stopping)


def books_of(
    settings: BillingSettings, metrics: BillingMetrics, closing: Work, is_closing: Callable[[], bool]
) -> Kept:
    """What billing keeps, and the work beside it; `is_closing` tells whether that goes on."""

    gauges = (metrics.statements_outgoing, metrics.incomplete_statements, metrics.complete_until)

    async def ask_numbers(connection: AsyncConnection[Any]) -> None:
        row = await (await connection.execute(_QUERIES["numbers"])).fetchone()
        assert row is not None
        for gauge, value in zip(gauges, row, strict=True):
            gauge.set(value)

    return Kept(
        schema=billing_schema(),
        topics=[settings.hourly_usage, settings.lifecycle, settings.statements, settings.usage_progress],
        projections=[
            projection(settings, metrics.unreadable_records.labels(projection.name).inc)
            for projection in (LedgerProjection, AccountsProjection, StatementsProjection, ProgressProjection)
        ],
        works=[closing],
        probe=ask_numbers,
        checks=lambda: {"closing": is_closing()},
    )


class ClosingOfMonths:
    """The work that looks for months that are due and closes them."""

    def __init__(
        self,
        settings: BillingSettings,
        metrics: BillingMetrics,
        clock: Clock,
        open_books: OpenBooks = open_books,
        ask_broker: AskBroker = broker_time,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._open_books = open_books
        self._ask_broker = ask_broker
        self._closing: Closing | None = None

    def is_going_on(self) -> bool:
        """Whether nothing is in its way that only somebody who looks can mend."""
        return self._closing is None or not self._closing.is_stalled

    async def work(self, opened: Opened) -> None:
        """Close months until cancelled; see `Work`."""
        closing = self._closing = self._new_closing(opened)

        async def look() -> None:
            async with self._open_books(self._settings.database_url) as books:
                await closing.look(books)

        while True:
            await wait_for("Postgres and Kafka, to close months", look, OUTAGES)
            await asyncio.sleep(self._settings.closing_interval_seconds)

    def _new_closing(self, opened: Opened) -> Closing:
        settings = self._settings
        topics = [settings.hourly_usage, settings.lifecycle, settings.statements]
        watermark = Watermark(
            ends=lambda: end_offsets(settings, topics),
            broker_time=lambda: self._ask_broker(opened.log, settings.usage_progress.name),
        )
        delivery = Delivery(opened.log, settings.statements.name, self._clock, self._metrics)
        return Closing(delivery, watermark, self._clock, self._metrics)
