"""Closing over books in memory: whose turn it is, what it waits for, repeats and leaves out."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from events.errors import LogUnavailable, RecordRefused
from events.log import EventLog
from events.memory_log import MemoryLog
from services.billing import closing, delivery
from services.billing.closing import Closing
from services.billing.delivery import Delivery
from services.billing.metrics import BillingMetrics
from services.billing.months import due_at
from services.billing.ports import Closed, Ends, Outgoing
from services.billing.watermark import Watermark
from tests.billing_builders import JANUARY, TOPICS, an_hour, books
from tests.billing_fakes import BooksInMemory, RefusingLog, sent
from tests.builders import fresh_id
from tests.fakes import ManualTime

pytestmark = pytest.mark.anyio


def a_closing(
    log: EventLog, metrics: BillingMetrics, seconds_after_due: float = 0, broker: datetime | None = None
) -> Closing:
    """By the broker's time January is due, unless `broker` says else."""

    async def ends() -> Ends:
        return {}

    async def broker_time() -> datetime:
        return broker or due_at(JANUARY)

    time = ManualTime(due_at(JANUARY))
    time.pass_by(seconds_after_due)
    clock = time.clock()
    sending = Delivery(log, TOPICS.statements.name, clock, metrics)
    return Closing(sending, Watermark(ends, broker_time), clock, metrics)


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
    log: MemoryLog, metrics: BillingMetrics
) -> None:
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    found.is_behind = True
    await a_closing(log, metrics).look(found)
    assert await sent(log) == []
    assert _metric(metrics, "billing_statements_due") == 1
    assert found.complete_until is None


async def test_nothing_is_closed_before_all_is_published_that_was_used_until_the_broker_was_asked(
    log: MemoryLog, metrics: BillingMetrics
) -> None:
    """That something was published after the month was due is not enough: use may have come since."""
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    asked_at = due_at(JANUARY) + timedelta(days=3)
    looking = a_closing(log, metrics, broker=asked_at)
    for announced in (None, due_at(JANUARY), asked_at - timedelta(milliseconds=1)):
        found.announced = announced
        await looking.look(found)
        assert await sent(log) == []
        assert found.complete_until == announced
    found.announced = asked_at
    await looking.look(found)
    assert len(await sent(log)) == 1


async def test_a_clock_that_is_ahead_of_the_broker_closes_nothing(
    log: MemoryLog, metrics: BillingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    just_before = due_at(JANUARY) - timedelta(milliseconds=1)
    await a_closing(log, metrics, broker=just_before).look(found)
    assert await sent(log) == []
    assert "clock is ahead" in caplog.text
    await a_closing(log, metrics).look(found)
    assert len(await sent(log)) == 1


async def test_what_the_log_refuses_holds_up_its_own_lineage_only(
    metrics: BillingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    refused, unavailable, other, later = (fresh_id() for _ in range(4))
    log = RefusingLog({refused: RecordRefused("too large"), unavailable: LogUnavailable("no leader")})
    some = [books([an_hour(lineage_id, JANUARY)]) for lineage_id in (refused, unavailable, other)]
    found = BooksInMemory(log, *some)
    looking = a_closing(log, metrics)
    for _ in range(3):
        await looking.look(found)
    found.add(books([an_hour(later, JANUARY)]))
    await looking.look(found)
    assert {key for key, _ in await sent(log)} == {f"{one}/2026-01".encode() for one in (other, later)}
    assert log.attempts[refused] == 1, "what is refused would be refused again"
    assert log.attempts[unavailable] == 4
    assert _metric(metrics, "billing_undeliverable_statements") == 1
    assert f"2026-01 of lineage {refused} is not delivered: too large" in caplog.text
    assert looking.is_stalled is False


async def test_queries_that_take_too_long_are_asked_for_less_and_told(
    log: MemoryLog, metrics: BillingMetrics
) -> None:
    some = [books([an_hour(fresh_id(), JANUARY)]) for _ in range(40)]
    found = BooksInMemory(log, *some)
    found.timeouts, found.most_opened = [False, True, True], 12
    looking = a_closing(log, metrics)
    await looking.look(found)
    assert len(await sent(log)) == len(some)
    assert found.pages[0] == closing.TOGETHER // 4
    assert max(size for size in found.opened_together if size <= 12) >= 6
    assert (_metric(metrics, "billing_query_timeouts_total") or 0) > 2
    assert looking.is_stalled is False


async def test_a_lineage_whose_books_take_too_long_is_left_out_and_the_others_are_closed(
    log: MemoryLog, metrics: BillingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    some = [books([an_hour(fresh_id(), JANUARY)]) for _ in range(7)]
    found = BooksInMemory(log, *some)
    found.most_opened, found.too_large = 1, some[3].account.lineage_id
    await a_closing(log, metrics).look(found)
    assert len(await sent(log)) == len(some) - 1
    assert _metric(metrics, "billing_refused_statements") == 1
    assert f"lineage {found.too_large} cannot be closed: its books take too long" in caplog.text


async def test_closing_that_stands_still_says_so_and_goes_on_by_itself(
    log: MemoryLog, metrics: BillingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    found.timeouts = [True] * 20
    looking = a_closing(log, metrics)
    for _ in range(2):
        await looking.look(found)
        assert looking.is_stalled
    assert "stands still" in caplog.text
    found.timeouts = []
    await looking.look(found)
    assert not looking.is_stalled
    assert len(await sent(log)) == 1


async def test_what_is_not_read_back_is_sent_again_unchanged(
    log: MemoryLog, metrics: BillingMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PATIENCE_SECONDS", 0.1)
    found = BooksInMemory(log, books([an_hour(fresh_id(), JANUARY)]))
    found.sendings_until_read_back = 3
    looking = a_closing(log, metrics)
    for _ in range(5):
        await looking.look(found)
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


async def test_a_statement_that_cannot_be_written_is_left_out_and_the_others_are_closed(
    log: MemoryLog, metrics: BillingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    lineage_id, other = fresh_id(), fresh_id()
    beyond = books([an_hour(lineage_id, JANUARY, hour=hour, compute_us=2**62) for hour in range(3)])
    found = BooksInMemory(log, beyond, books([an_hour(other, JANUARY)]))
    looking = a_closing(log, metrics)
    for _ in range(2):
        await looking.look(found)
    assert [key for key, _ in await sent(log)] == [f"{other}/2026-01".encode()]
    assert _metric(metrics, "billing_refused_statements") == 1
    assert caplog.text.count(f"statement 2026-01 of lineage {lineage_id} cannot be closed") == 1


async def test_lineages_that_nobody_created_are_told_once_and_not_before_all_is_read(
    log: MemoryLog, metrics: BillingMetrics, caplog: pytest.LogCaptureFixture
) -> None:
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
