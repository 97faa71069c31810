"""The Postgres picture of use, read-only: months of a lineage, what they cost, and days of the services."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from events.partitions import home_partition
from events.queries import load_queries
from events.topics import Topics
from events.usage_identity import NEAR_PERIODS, identity_of, period_of
from services.api.errors import ReadModelUnavailable
from services.api.read_models import PostgresReadModels, in_time

TOP_ENDPOINTS = 10
#: Whoever knows a key_id may report use for services of any name.
MOST_DAYS_OF_USE = 10_000
ROWS_AT_ONCE = 200
#: A report is recorded all the same where this takes longer.
CONTENT_SECONDS = 0.25
#: Of four connections.
LOOK_UPS_AT_ONCE = 2
QUERIES = load_queries("services.api", "usage_queries.sql")


@dataclass(frozen=True, slots=True)
class Sums:
    """Over distinct uses; times in microseconds. An error is a status of 400 or more."""

    requests: int = 0
    errors: int = 0
    predictions: int = 0
    compute_us: int = 0
    response_time_us: int = 0


@dataclass(frozen=True, slots=True)
class MonthOfUse:
    """All that a lineage used in a month; of its endpoints the ten largest, with their requests."""

    sums: Sums = Sums()
    top_endpoints: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Charges:
    """What billing counts for a lineage in a month; `overage` in USD."""

    requests: int = 0
    predictions: int = 0
    compute_us: int = 0
    overage: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """All that was reported by a service for one day."""

    day: date
    service_id: str
    sums: Sums


class PostgresUsageReadModels:
    """Queries over the projector's and billing's views. Every one raises `ReadModelUnavailable`."""

    def __init__(self, postgres: PostgresReadModels, topics: Topics) -> None:
        self._postgres = postgres
        self._usage = topics.usage.name
        self._partitions = topics.usage.partitions
        self._looking_up = asyncio.Semaphore(LOOK_UPS_AT_ONCE)
        self._billed = [topics.hourly_usage.name, topics.lifecycle.name]

    async def month(self, lineage_id: str, month: date) -> MonthOfUse:
        """What a lineage used in the month that begins then."""
        rows = await self._rows(
            "month_of_use",
            topic=self._usage,
            lineage_id=lineage_id,
            month=month,
            endpoints=TOP_ENDPOINTS,
        )
        if not rows:
            return MonthOfUse()
        return MonthOfUse(_sums(rows[0]), tuple((row["endpoint"], int(row["count"])) for row in rows))

    async def charges(self, lineage_id: str, month: date) -> Charges:
        """What billing counts for a lineage in the month that begins then."""
        rows = await self._rows("charges", topics=self._billed, lineage_id=lineage_id, month=month)
        if not rows:
            return Charges()
        (row,) = rows
        return Charges(
            int(row["requests"]), int(row["predictions"]), int(row["compute_us"]), Decimal(row["overage"])
        )

    async def days(self, first: date, last: date, services: Sequence[str] | None) -> list[DayOfUse]:
        """The days of that span, both ends included, by day and service; of these services (None: of all).

        At most one more than `MOST_DAYS_OF_USE`.
        """
        rows = await self._rows(
            "days_of_use",
            topic=self._usage,
            first=first,
            last=last,
            most=MOST_DAYS_OF_USE + 1,
            services=list(services) if services is not None else None,
        )
        return [DayOfUse(row["day"], row["service_id"], _sums(row)) for row in rows]

    async def content(self, key_id: str, event_id: str, now: datetime) -> int | None:
        """What the use with this id states, if one is known that a report of now would repeat."""
        period = period_of(int(now.timestamp() * 1000))
        parameters = {
            "topic": self._usage,
            "identity": identity_of(key_id, event_id),
            "first": period - NEAR_PERIODS,
            "last": period + NEAR_PERIODS,
            "home": home_partition(key_id, self._partitions),
        }
        return await in_time(self._content(parameters), CONTENT_SECONDS)

    async def _content(self, parameters: Mapping[str, object]) -> int | None:
        # Reports take turns, so that however many there are, other questions find a connection.
        async with self._looking_up, self._postgres.connection() as connection:
            row = await (await connection.execute(QUERIES["content"], parameters)).fetchone()
        return None if row is None else int(row["content"])

    async def _rows(self, query: str, **parameters: object) -> list[dict[str, Any]]:
        return await in_time(self._query(query, parameters))

    async def _query(self, query: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        async with self._postgres.connection() as connection:
            cursor = await connection.execute(QUERIES[query], parameters)
            rows: list[dict[str, Any]] = []
            while batch := await cursor.fetchmany(ROWS_AT_ONCE):
                rows += batch
                await asyncio.sleep(0)  # ten thousand rows take longer than others may wait
        if not rows[0]["is_filled"]:
            raise ReadModelUnavailable("The read model is being rebuilt, try again")
        return [row for row in rows if row["requests"] is not None]


def _sums(row: Mapping[str, Any]) -> Sums:
    return Sums(
        requests=int(row["requests"]),
        errors=int(row["errors"]),
        predictions=int(row["predictions"]),
        compute_us=int(row["compute_us"]),
        response_time_us=int(row["response_time_us"]),
    )
