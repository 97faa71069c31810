"""How far a service is, read from Postgres until it is where a bench wants it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Records applied, and the seconds between the first and the last commit that was seen."""

    records: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.records / self.seconds


def follow(done: Callable[[], int], goal: int) -> Progress:
    """Ask again and again until the goal is reached. The time before the first commit does not count.

    Raises `TimeoutError` when it is not reached in time.
    """
    first, began = 0, time.perf_counter()
    deadline = began + PATIENCE_SECONDS
    while (now := done()) < goal:
        if not first and now:
            first, began = now, time.perf_counter()
        if time.perf_counter() > deadline:
            raise TimeoutError(f"only {now} of {goal} after {PATIENCE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return Progress(goal - first, max(time.perf_counter() - began, POLL_SECONDS))


def wait_until(is_so: Callable[[], bool], what: str) -> float:
    """Seconds until it was. Raises `TimeoutError`."""
    began = time.perf_counter()
    while not is_so():
        if time.perf_counter() > began + PATIENCE_SECONDS:
            raise TimeoutError(f"not within {PATIENCE_SECONDS:.0f} s: {what}")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - began


def applied(database: psycopg.Connection, schema: str, topic: str) -> int:
    """Records of the topic that the schema's projections have applied; 0 while there is no schema."""
    # The schema is a name of ours.
    query = f"SELECT sum(next_offset)::bigint FROM {schema}.positions WHERE topic = %s"  # noqa: S608
    return number(database, query, topic)


def number(database: psycopg.Connection, query: str, *parameters: str) -> int:
    """What the query says; 0 where it says nothing, or while there is no such table yet."""
    try:
        row = database.execute(query.encode(), parameters).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return 0
    return int(row[0] or 0) if row else 0
