"""Closing over books in memory: whose turn it is, what it waits for, repeats and leaves out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from events.memory_log import MemoryLog
from events.topics import Topics
from services.billing import closing
from services.billing.closing import Closing
from services.billing.drafting import Due, LineageBooks
from services.billing.metrics import BillingMetrics
from services.billing.months import due_at, end_of
from services.billing.ports import Closed, Ends, Outgoing
from tests.billing_builders import JANUARY, an_hour, books
from tests.builders import fresh_id
from tests.fakes import ManualTime

pytestmark = pytest.mark.anyio

TOPICS = Topics.from_environment({})


class BooksInMemory:
    """`Books` of lineages with use in January. A statement is read back once it was sent often enough."""

    def __init__(self, log: MemoryLog, *opened: LineageBooks) -> None:
        self._log = log
        self._opened = {one.account.lineage_id: one for one in opened}
        self._closed: set[Closed] = set()
        self._outgoing: dict[Closed, bytes] = {}
        self.is_locked_by_others = False
        self.is_behind = False
        self.unknown: list[str] = []
        self.sendings_until_read_back = 1

    async def lock(self) -> bool:
        return not self.is_locked_by_others

    async def due(self, before: datetime) -> tuple[Sequence[Due], Sequence[str]]:
        ids = (
            self._opened.keys() - {one.lineage_id for one in self._closed}
            if before >= end_of(JANUARY)
            else ()
        )
        return [Due(lineage_id, [JANUARY], [], None) for lineage_id in sorted(ids)], self.unknown

    async def have_passed(self, ends: Ends) -> bool:
        return not self.is_behind

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        yield

    async def open(self, closed: Sequence[Closed]) -> Sequence[tuple[Closed, LineageBooks]]:
        return [(one, self._opened[one.lineage_id]) for one in closed]

    async def settle(self, statements: Sequence[Outgoing]) -> None:
        for closed, value in statements:
            self._outgoing.setdefault(closed, value)

    async def outgoing(self, limit: int) -> Sequence[Outgoing]:
        return [Outgoing(*one) for one in sorted(self._outgoing.items())][:limit]

    async def forget_read_back(self) -> int:
        values = [value for _, value in await sent(self._log)]
        read = {
            closed
            for closed, value in self._outgoing.items()
            if values.count(value) >= self.sendings_until_read_back
        }
        self._closed |= read
        for closed in read:
            del self._outgoing[closed]
        return len(read)


async def sent(log: MemoryLog) -> list[tuple[bytes | None, bytes | None]]:
    reader = log.reader(TOPICS.statements)
    await reader.begin({})
    return [(record.key, record.value) for record in await reader.read(timeout_seconds=0)]


def a_closing(log: MemoryLog, metrics: BillingMetrics, seconds_after_due: float = 0) -> Closing:
    async def ends() -> Ends:
        return {}

    time = ManualTime(due_at(JANUARY))
    time.pass_by(seconds_after_due)
    return Closing(log, TOPICS.statements.name, ends, time.clock(), metrics)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def metrics() -> BillingMetrics:
    return BillingMetrics()


async def test_what_is_due_is_closed_and_counted(log: MemoryLog, metrics: BillingMetrics) -> None:
    some = [books([an_hour(fresh_id(), JANUARY)]) for _ in range(250)]
    await a_closing(log, metrics).look(BooksInMemory(log, *some))
    keys = {f"{one.account.lineage_id}/2026-01".encode() for one in some}
    assert len(await sent(log)) == len(some)
    assert {key for key, _ in await sent(log)} == keys
    assert _metric(metrics, "billing_statements_closed_total") == 250
    assert _metric(metrics, "billing_last_closing_timestamp_seconds") == due_at(JANUARY).timestamp()
    assert _metric(metrics, "billing_statements_due") == _metric(metrics, "billing_months_due") == 0


async def test_nothing_is_closed_a_second_before_it_is_due(log: MemoryLog, metrics: BillingMetrics) -> None:
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    await a_closing(log, metrics, -1).look(found)
    assert await sent(log) == []
    await a_closing(log, metrics).look(found)
    assert len(await sent(log)) == 1


async def test_nothing_is_closed_while_somebody_else_does(log: MemoryLog, metrics: BillingMetrics) -> None:
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    found.is_locked_by_others = True
    await a_closing(log, metrics).look(found)
    assert await sent(log) == []


async def test_nothing_is_closed_before_all_that_the_log_holds_is_read(
    log: MemoryLog, metrics: BillingMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.1)
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    found.is_behind = True
    await a_closing(log, metrics).look(found)
    assert await sent(log) == []
    assert _metric(metrics, "billing_statements_due") == 1


async def test_what_is_not_read_back_is_sent_again_unchanged(
    log: MemoryLog, metrics: BillingMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.1)
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    found.sendings_until_read_back = 3
    await a_closing(log, metrics).look(found)
    records = await sent(log)
    assert len(records) == 3
    assert len(set(records)) == 1


async def test_bytes_that_a_dead_process_has_settled_are_sent_as_they_are(
    log: MemoryLog, metrics: BillingMetrics
) -> None:
    found = BooksInMemory(log)
    settled = Outgoing(Closed(JANUARY, fresh_id()), b"what it has settled")
    await found.settle([settled])
    await a_closing(log, metrics).look(found)
    assert await sent(log) == [(settled.record_key, settled.value)]


async def test_a_statement_that_no_record_takes_is_left_out_and_the_others_are_closed(
    log: MemoryLog,
    metrics: BillingMetrics,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one of sixty keys would be, each used in every hour of a month."""
    monkeypatch.setattr(closing, "LARGEST_STATEMENT_BYTES", 1500)
    lineage_id, other = fresh_id(), fresh_id()
    large = books(
        [
            an_hour(key_id, JANUARY, hour=hour, lineage_id=lineage_id)
            for key_id in [fresh_id() for _ in range(4)]
            for hour in range(24)
        ]
    )
    found = BooksInMemory(log, large, books([an_hour(other, JANUARY)]))
    looking = a_closing(log, metrics)
    for _ in range(2):
        await looking.look(found)
    assert [key for key, _ in await sent(log)] == [f"{other}/2026-01".encode()]
    assert _metric(metrics, "billing_refused_statements") == 1
    assert caplog.text.count(f"statement 2026-01 of lineage {lineage_id} cannot be closed") == 1


async def test_lineages_that_nobody_created_are_told_once_and_not_before_all_is_read(
    log: MemoryLog,
    metrics: BillingMetrics,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.1)
    found = BooksInMemory(log)
    found.unknown, found.is_behind = [fresh_id()], True
    looking = a_closing(log, metrics)
    await looking.look(found)
    assert found.unknown[0] not in caplog.text
    found.is_behind = False
    for _ in range(2):
        await looking.look(found)
    assert caplog.text.count(found.unknown[0]) == 1
    assert _metric(metrics, "billing_unknown_lineages") == 1


def _metric(metrics: BillingMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)
