"""A million keys: how long a worker takes until it is ready, what memory it takes, what it still answers."""

from __future__ import annotations

import asyncio
import functools
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from bench import traffic
from bench.answers import check
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal, ratios
from bench.interleaved import busiest, interleaved, per_second
from bench.load import Load
from bench.progress import applied, follow
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService, Place

KEYS = 1_000_000
FEW_KEYS = 1000
ASKED_FOR = 100_000
CONNECTIONS = 32


def million(bench: Bench, report: Report) -> None:
    """A log of a million keys, a tenth rotated and a tenth revoked: start-up, memory, validation."""
    keys = SampleKeys(PEPPER)
    count = bench.scaled(KEYS, 20_000)
    place = bench.servers.place()
    records = asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, keys.lives(count)))
    report.remark(
        f"The log: {records:,} records of {count:,} keys. Memory is what each worker has alone (USS)."
    )
    _fill_postgres(report, place, records)
    for what, database_url, goal in (
        ("Postgres' snapshot", place.database_url, 15.0),
        ("the log alone", NO_DATABASE, 60.0),
    ):
        times, memory = [], []
        for _ in range(1 if bench.quick else 3):
            began = time.perf_counter()
            with place.api(DATABASE_URL=database_url) as api:
                times.append(time.perf_counter() - began)
                memory.append(_memory_mb(api))
                _check_answers(api, keys, count)
        report.add(f"ready from {what}", Figure(times), "s", Goal(at_most=goal), "from the process' start")
        report.add(f"memory of a worker, from {what}", Figure(memory), "MB", Goal(at_most=600))
    _against_few(bench, report, keys, count, place)


def _fill_postgres(report: Report, place: Place, records: int) -> None:
    topic = place.topics.lifecycle.name
    with (
        psycopg.connect(place.database_url, autocommit=True) as database,
        place.keeper("projector"),
    ):
        progress = follow(lambda: applied(database, "projector", topic), records)
        database.execute("ANALYZE")
    report.add("the read model's filling meanwhile", Figure([progress.per_second]), "events/s")


def _check_answers(api: BenchService, keys: SampleKeys, count: int) -> None:
    """The rotated, the revoked and the others are known for what they are."""
    for number in range(0, count, max(1, count // 50)):
        for key in (number, number + 1, number + 2):
            generation = 1 if key % 10 == 0 else 0
            current = keys.current(key)
            passes = (traffic.bearer(keys.secret(key, generation)), 200, keys.key_id(key, generation))
            dead = (traffic.bearer(keys.secret(key)), 401, None)
            check(api.url, [passes] if current else [dead])
            if generation:
                check(api.url, [dead])


def _against_few(bench: Bench, report: Report, keys: SampleKeys, count: int, place: Place) -> None:
    few = bench.servers.place()
    asyncio.run(append_all(few.kafka, few.topics.lifecycle.name, keys.lives(FEW_KEYS)))
    with ExitStack() as opened:
        of_many = opened.enter_context(place.api())
        of_few = opened.enter_context(few.api(DATABASE_URL=NO_DATABASE))
        load = Load(CONNECTIONS, bench.seconds)
        prepared = bench.scaled(traffic.PREPARED, 10_000)
        asked = [secret for n in range(min(count, ASKED_FOR)) if (secret := keys.current(n)) is not None]
        asked_few = [secret for n in range(FEW_KEYS) if (secret := keys.current(n)) is not None]
        run = bench.generator.run
        found = interleaved(
            {
                "many": functools.partial(run, of_many.url, traffic.many_keys(asked, prepared), load),
                "few": functools.partial(run, of_few.url, traffic.many_keys(asked_few, prepared), load),
            },
            bench.repeats,
        )
    many, few_keys = per_second(found["many"]), per_second(found["few"])
    report.add(f"validate, {count:,} keys known", many, "requests/s", note=busiest(found["many"]))
    report.add(f"validate, {FEW_KEYS:,} keys known", few_keys, "requests/s", note=busiest(found["few"]))
    report.add("many keys against few", ratios(many, few_keys), "x")


def _memory_mb(api: BenchService) -> float:
    return max(worker.memory_full_info().uss for worker in api.workers()) / 1e6


if __name__ == "__main__":
    run_bench(Path(__file__).stem, million)
