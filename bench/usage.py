"""The way of a use: from the topic to the roll-ups and the ledger, and how soon it can be seen."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal, percentile
from bench.interleaved import busiest
from bench.load import Load, Measured, Request, Traffic
from bench.progress import Progress, applied, follow, number, wait_until
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.sample_usage import some_uses
from bench.servers import PEPPER, Place
from bench.usage_from_memory import feed_from_memory
from bench.usage_visibility import watch_uses

KEYS = 3000
EVENTS = 300_000
RATE = 1000
CONNECTIONS = 32
RECORDED = {200: "Usage recorded successfully"}


def usage(bench: Bench, report: Report) -> None:
    """KeyUsed from topic to roll-up and ledger; from emit to visible; over HTTP."""
    keys = SampleKeys(PEPPER)
    events = bench.scaled(EVENTS, 20_000)
    repeats = 1 if bench.quick else 3
    from_topic, from_memory = [], []
    for _ in range(repeats):
        from_memory.append(_from_memory(_place_with_keys(bench, keys), keys, events).per_second)
        place = _place_with_keys(bench, keys)
        from_topic.append(_from_topic(place, keys, events).per_second)
    report.add(
        "KeyUsed from topic to roll-up", Figure(from_topic), "events/s", Goal(25_000), "first commit to last"
    )
    report.add("the same SQL fed from memory", Figure(from_memory), "events/s", note="decoded beforehand")
    against = Figure([a / b for a, b in zip(from_topic, from_memory, strict=True)])
    report.add("from topic against from memory", against, "x", Goal(0.7))
    report.add("KeyUsed to the ledger, from where it began", Figure([_to_ledger(place, events)]), "events/s")
    _visibility(bench, report, keys)
    _over_http(bench, report, keys)


def _place_with_keys(bench: Bench, keys: SampleKeys) -> Place:
    """A place whose read models know the keys."""
    place = bench.servers.place()
    topic = place.topics.lifecycle.name
    asyncio.run(append_all(place.kafka, topic, (keys.created(number) for number in range(KEYS))))
    with psycopg.connect(place.database_url, autocommit=True) as database, place.keeper("projector"):
        follow(lambda: applied(database, "projector", topic), KEYS)
    return place


def _from_memory(place: Place, keys: SampleKeys, events: int) -> Progress:
    return asyncio.run(feed_from_memory(place, some_uses(keys, KEYS, events, datetime.now(UTC))))


def _from_topic(place: Place, keys: SampleKeys, events: int) -> Progress:
    topic = place.topics.usage.name
    uses = some_uses(keys, KEYS, events, datetime.now(UTC))
    asyncio.run(append_all(place.kafka, topic, uses))
    with psycopg.connect(place.database_url, autocommit=True) as database, place.keeper("projector"):
        return follow(lambda: applied(database, "projector", topic), events)


def _to_ledger(place: Place, events: int) -> float:
    """All processes from the start, over the same log: until billing has every use."""
    with psycopg.connect(place.database_url, autocommit=True) as database, ExitStack() as opened:
        database.execute("DROP SCHEMA IF EXISTS projector CASCADE")
        database.execute("DROP SCHEMA IF EXISTS billing CASCADE")
        began = time.perf_counter()
        opened.enter_context(place.keeper("projector"))
        opened.enter_context(place.keeper("billing"))

        query = "SELECT sum(requests) FROM billing.hour"
        wait_until(lambda: number(database, query) == events, "every use in the ledger")
        return events / (time.perf_counter() - began)


def _visibility(bench: Bench, report: Report, keys: SampleKeys) -> None:
    place = _place_with_keys(bench, keys)
    with place.keeper("projector"), place.api() as api:
        seen = asyncio.run(watch_uses(place, api, keys, KEYS, RATE, seconds=bench.scaled(30, 5)))
    for what, delays, goal in (
        ("in stats", seen.in_stats, Goal(at_most=1.0)),
        ("in usage.hourly", seen.in_hourly, None),
    ):
        report.add(f"emit -> {what}, p50", Figure([percentile(delays, 50)]), "s", note=f"at {RATE}/s")
        report.add(
            f"emit -> {what}, p99", Figure([percentile(delays, 99)]), "s", goal, f"{len(delays)} uses watched"
        )


def _over_http(bench: Bench, report: Report, keys: SampleKeys) -> None:
    place = _place_with_keys(bench, keys)
    served = {"service_id": "platform", "endpoint": "/predict", "status_code": 200, "response_time_ms": 12}
    body = json.dumps(served).encode()
    posts = [Request(f"/api/v1/usage/{keys.key_id(number)}", {}, body) for number in range(KEYS)]
    with place.api() as api:
        load = Load(CONNECTIONS, bench.seconds)
        measured: list[Measured] = []
        for repeat in range(-1, bench.repeats):
            found = bench.generator.run(api.url, Traffic(posts, RECORDED), load).right()
            measured += [found] if repeat >= 0 else []
    rates = Figure([each.per_second for each in measured])
    report.add("usage posts over HTTP, acked by the log", rates, "requests/s", note=busiest(measured))


if __name__ == "__main__":
    run_bench(Path(__file__).stem, usage)
