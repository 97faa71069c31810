"""Every metric of the api: its name, kind and meaning.

Workers count in plain integers on their seats; whoever is scraped sums over all seats of the node, those
of workers that died included, so a restart never makes a counter fall.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum, auto

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from events.clock import Clock
from services.api import latency
from services.api.directory.freshness import Freshness
from services.api.errors import KeyNotFound, OutcomeUnknown, UsageUnconfirmed, WriteConflict
from services.api.node import Node, Seat
from services.api.verdict import Verdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

COMMANDS = ("create", "rotate", "revoke", "record_usage", "debit_usage")
COMMAND_RESULTS = ("done", "conflict", "not_found", "unknown", "failed")
ERROR_RESULTS: dict[type[Exception], str] = {
    WriteConflict: "conflict",
    KeyNotFound: "not_found",
    OutcomeUnknown: "unknown",
    UsageUnconfirmed: "unknown",
}
STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


class _Single(IntEnum):
    """The numbers on a seat that have no label: first those that a worker sets, then those that only grow."""

    IS_ANSWERING = 0
    PID = auto()
    KEYS = auto()
    PARKED = auto()
    UNVERIFIABLE = auto()
    WINDOWS = auto()
    WINDOWS_DUE = auto()
    RATE_TABLE_SLOTS = auto()
    RATE_TABLE_USED = auto()
    EVENTS_APPLIED = auto()
    EVENTS_IGNORED = auto()
    RECORDS_UNREADABLE = auto()
    APPEND_TIMES_DOUBTED = auto()
    BCRYPT_CHECKS = auto()
    UNKNOWN_PEPPERS = auto()
    WINDOW_COUNTS_SENT = auto()
    WINDOW_COUNTS_READ = auto()
    WRITES = auto()
    WRITE_MICROSECONDS = auto()


GAUGES = _Single.EVENTS_APPLIED
VERDICTS_AT = len(_Single)
COMMANDS_AT = VERDICTS_AT + len(Verdict)
ANSWERS_AT = COMMANDS_AT + len(COMMANDS) * len(COMMAND_RESULTS)
LATENCY_AT = ANSWERS_AT + len(STATUS_CLASSES)
VALIDATIONS_AT = LATENCY_AT + latency.VALIDATE * latency.NUMBERS
COUNTERS = LATENCY_AT + len(latency.ROUTES) * latency.NUMBERS


class Metrics:
    """What one worker counts. Until it has a seat it counts for itself alone."""

    def __init__(self) -> None:
        self._numbers: memoryview = memoryview(bytearray(COUNTERS * 8)).cast("q")

    def sit(self, seat: Seat) -> None:
        """Count on the seat from now on; sitting down again changes nothing."""
        if self._numbers is seat.counters:
            return
        for place, number in enumerate(self._numbers):
            kept = 0 if place < GAUGES else seat.counters[place]
            seat.counters[place] = kept + number
        seat.counters[_Single.PID] = os.getpid()
        self._numbers = seat.counters

    def validation(self, verdict: Verdict, nanoseconds: int = 0) -> None:
        """hokusai_api_validations_total, and the answer that comes of it in that time"""
        numbers = self._numbers
        microseconds = nanoseconds // 1000
        numbers[VALIDATIONS_AT + latency.bucket_of(microseconds)] += 1
        numbers[VALIDATIONS_AT + latency.BUCKETS] += microseconds
        numbers[VERDICTS_AT + verdict.index] += 1
        numbers[ANSWERS_AT - 1 + verdict.status // 100] += 1

    def took(self, route: int, seconds: float) -> None:
        """hokusai_http_request_seconds, of one of `latency.ROUTES`"""
        microseconds = int(seconds * 1_000_000)
        at = LATENCY_AT + route * latency.NUMBERS
        numbers = self._numbers
        numbers[at + latency.bucket_of(microseconds)] += 1
        numbers[at + latency.BUCKETS] += microseconds

    def answer(self, status: int) -> None:
        """hokusai_api_answers_total"""
        self._numbers[ANSWERS_AT + status // 100 - 1] += 1

    @contextmanager
    def command(self, command: str) -> Iterator[None]:
        """hokusai_api_commands_total, by what comes of the command that runs within"""
        result = "failed"
        try:
            yield
            result = "done"
        except tuple(ERROR_RESULTS) as error:
            result = ERROR_RESULTS[type(error)]
            raise
        finally:
            place = COMMANDS.index(command) * len(COMMAND_RESULTS) + COMMAND_RESULTS.index(result)
            self._numbers[COMMANDS_AT + place] += 1

    def write(self, seconds: float) -> None:
        """hokusai_api_write_seconds: from append to where the node's store includes it"""
        self._numbers[_Single.WRITES] += 1
        self._numbers[_Single.WRITE_MICROSECONDS] += round(seconds * 1_000_000)

    def answering(self) -> None:
        """hokusai_api_workers"""
        self._numbers[_Single.IS_ANSWERING] = 1

    @property
    def is_answering(self) -> bool:
        return self._numbers[_Single.IS_ANSWERING] == 1

    def directory(self, keys: int, parked: int, unverifiable: int) -> None:
        self._numbers[_Single.KEYS] = keys
        self._numbers[_Single.PARKED] = parked
        self._numbers[_Single.UNVERIFIABLE] = unverifiable

    def applied(self) -> None:
        self._numbers[_Single.EVENTS_APPLIED] += 1

    def ignored(self) -> None:
        self._numbers[_Single.EVENTS_IGNORED] += 1

    def unreadable(self) -> None:
        self._numbers[_Single.RECORDS_UNREADABLE] += 1

    def append_time_doubted(self) -> None:
        self._numbers[_Single.APPEND_TIMES_DOUBTED] += 1

    def windows(self, known: int, due: int) -> None:
        self._numbers[_Single.WINDOWS] = known
        self._numbers[_Single.WINDOWS_DUE] = due

    def rate_table(self, slots: int, used: int) -> None:
        self._numbers[_Single.RATE_TABLE_SLOTS] = slots
        self._numbers[_Single.RATE_TABLE_USED] = used

    def window_count_sent(self) -> None:
        self._numbers[_Single.WINDOW_COUNTS_SENT] += 1

    def window_count_read(self) -> None:
        self._numbers[_Single.WINDOW_COUNTS_READ] += 1

    def bcrypt_check(self) -> None:
        self._numbers[_Single.BCRYPT_CHECKS] += 1

    def unknown_pepper(self) -> None:
        self._numbers[_Single.UNKNOWN_PEPPERS] += 1


class NodeCollector(Collector):
    """The metrics of all processes of a node, as one."""

    def __init__(self, node: Node, freshness: Freshness, clock: Clock) -> None:
        self._node = node
        self._freshness = freshness
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        seats = self._node.seats()
        living = list(self._node.living())
        totals = [sum(seat.counters[place] for seat in seats) for place in range(COUNTERS)]
        yield from self._counters(totals)
        yield from self._gauges(living)
        yield from self._latencies(totals)
        yield from self._processes(living)

    def _counters(self, totals: Sequence[int]) -> Iterator[Metric]:
        validations = CounterMetricFamily(
            "hokusai_api_validations", "Answers of validate, by verdict.", labels=["verdict"]
        )
        for verdict in Verdict:
            validations.add_metric([verdict.name.lower()], totals[VERDICTS_AT + verdict.index])
        yield validations

        commands = CounterMetricFamily(
            "hokusai_api_commands",
            "Changes of keys that were asked for, and uses that were reported.",
            labels=["command", "result"],
        )
        for place, total in enumerate(totals[COMMANDS_AT:ANSWERS_AT]):
            command, result = divmod(place, len(COMMAND_RESULTS))
            commands.add_metric([COMMANDS[command], COMMAND_RESULTS[result]], total)
        yield commands

        answers = CounterMetricFamily(
            "hokusai_api_answers", "HTTP answers, by class of status.", labels=["status"]
        )
        for status, total in zip(STATUS_CLASSES, totals[ANSWERS_AT:LATENCY_AT], strict=True):
            answers.add_metric([status], total)
        yield answers

        for place, name, meaning in (
            (_Single.EVENTS_APPLIED, "events_applied", "Lifecycle events that took effect."),
            (_Single.EVENTS_IGNORED, "events_ignored", "Duplicates and losers of races."),
            (_Single.RECORDS_UNREADABLE, "records_unreadable", "Records that could not be read."),
            (
                _Single.APPEND_TIMES_DOUBTED,
                "append_times_doubted",
                "Records whose append time is too far ahead of the host's clock to be believed.",
            ),
            (_Single.BCRYPT_CHECKS, "bcrypt_checks", "Keys that only bcrypt could verify."),
            (
                _Single.UNKNOWN_PEPPERS,
                "unknown_pepper_refusals",
                "Validations of what looked like a key whose pepper no node was ever started with.",
            ),
            (_Single.WINDOW_COUNTS_SENT, "window_counts_sent", "Counts of rate windows sent to the others."),
            (_Single.WINDOW_COUNTS_READ, "window_counts_read", "Counts of other nodes that were read."),
            (_Single.WRITES, "writes", "Events appended and written to the store."),
        ):
            yield CounterMetricFamily(f"hokusai_api_{name}", meaning, value=totals[place])
        yield CounterMetricFamily(
            "hokusai_api_write_seconds",
            "Time from append to where the store includes it, summed over all writes.",
            value=totals[_Single.WRITE_MICROSECONDS] / 1_000_000,
        )
        yield CounterMetricFamily(
            "hokusai_api_clock_raised_seconds",
            "How far the node's clock was put forward, by steps of the host's clock and by the log.",
            value=self._clock.raised_seconds,
        )

    def _latencies(self, totals: Sequence[int]) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "hokusai_http_request_seconds",
            "Time from the head of a request until its answer was handed over, by route.",
            labels=["method", "route"],
        )
        for place, route in enumerate(latency.ROUTES):
            at = LATENCY_AT + place * latency.NUMBERS
            counts = totals[at : at + latency.BUCKETS]
            sum_seconds = totals[at + latency.BUCKETS] / 1_000_000
            family.add_metric(route, list(latency.cumulative(counts)), sum_seconds)
        yield family

    def _processes(self, living: Sequence[Seat]) -> Iterator[Metric]:
        """What the system knows of each worker: memory, processor time, open files."""
        families: dict[str, Metric] = {}
        for seat in living:
            pid = seat.counters[_Single.PID]
            for found in _process(pid).collect():
                family = Metric(found.name, found.documentation, found.type)
                for sample in found.samples:
                    families.setdefault(found.name, family).add_sample(
                        sample.name, {"worker": str(pid)}, sample.value
                    )
        yield from families.values()

    def _gauges(self, living: Sequence[Seat]) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "hokusai_api_staleness_seconds",
            "Age of what the node knows of the log.",
            value=self._freshness.staleness_seconds,
        )
        yield GaugeMetricFamily(
            "hokusai_api_clock_ahead_seconds",
            "The node's clock minus the host's; far below zero while a step of the host is not believed yet.",
            value=self._clock.ahead_seconds,
        )
        answering = sum(seat.counters[_Single.IS_ANSWERING] for seat in living)
        yield GaugeMetricFamily("hokusai_api_workers", "Workers that answer.", value=answering)
        for place, name, meaning in (
            (_Single.KEYS, "keys", "Keys in the store, dead ones included."),
            (
                _Single.PARKED,
                "parked_lineages",
                "Lineages that are refused until a rebuild understands them.",
            ),
            (
                _Single.UNVERIFIABLE,
                "unverifiable_keys",
                "Keys that no pepper of today finds; bcrypt verifies them.",
            ),
            (_Single.WINDOWS, "rate_windows", "Lineages with a rate window in this hour."),
            (_Single.WINDOWS_DUE, "rate_windows_due", "Rate windows whose count waits to be sent."),
            (
                _Single.RATE_TABLE_SLOTS,
                "rate_table_slots",
                "Slots of this hour's rate table; it grows when half are used.",
            ),
            (_Single.RATE_TABLE_USED, "rate_table_used", "Slots of this hour's rate table that are used."),
        ):
            largest = max((seat.counters[place] for seat in living), default=0)
            yield GaugeMetricFamily(f"hokusai_api_{name}", meaning, value=largest)


def _process(pid: int) -> Collector:
    return ProcessCollector(namespace="hokusai", pid=lambda: pid, registry=None)


def exposition(node: Node, freshness: Freshness, clock: Clock) -> bytes:
    """The metrics of the whole node as Prometheus text."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(node, freshness, clock))
    return generate_latest(registry)
