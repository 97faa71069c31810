"""A million keys or more: how long a node takes until it answers, what memory it takes, how fast it is."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import traffic
from bench.answers import check
from bench.append import append_all
from bench.command import Bench, bench_parser, run
from bench.figure import Figure, Goal, ratios
from bench.interleaved import busiest, interleaved, per_second
from bench.load import Load, Traffic
from bench.node_memory import folder_mb, follower_memory, report_follower, report_workers
from bench.progress import applied, follow
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService, Place

QUICK_KEYS = 20_000
ASKED_FOR = 100_000
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Size:
    """How many keys, compared with how few, how often, and within how many seconds a node has to answer."""

    keys: int
    few: int
    repeats: int
    from_snapshot: Goal | None
    from_log: Goal
    warm: Goal
    has_snapshot: bool = True


A_MILLION = Size(1_000_000, 1000, 3, Goal(at_most=12), Goal(at_most=45), Goal(at_most=2))
TEN_MILLION = Size(
    10_000_000, A_MILLION.keys, 1, None, Goal(at_most=480), Goal(at_most=5), has_snapshot=False
)


def million(bench: Bench, report: Report, size: Size) -> None:
    """A log of many keys, a tenth rotated and a tenth revoked: start-up, memory, validation."""
    keys = SampleKeys(PEPPER)
    place = bench.servers.place()
    records = asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, keys.lives(size.keys)))
    report.remark(
        f"The log: {records:,} records of {size.keys:,} keys. Memory of a worker is what it has alone (USS) "
        "once it has answered for many keys. That of the follower is without what it has mapped of the "
        "store, which the system takes back when it needs it; USS and RSS are with it. From the log alone: "
        "Postgres is away. Warm: it is there and not read."
    )
    if size.has_snapshot:
        _fill_postgres(report, place, records)
        snapshot = {"DATABASE_URL": place.database_url}
        _report_starts(report, keys, size, place, "from Postgres' snapshot", size.from_snapshot, snapshot)
    folder = place.folder / "node"
    alone = {"DATABASE_URL": NO_DATABASE, "NODE_FOLDER": str(folder)}
    _report_starts(report, keys, size, place, "from the log alone", size.from_log, alone)
    report.add("the node's folder", Figure([folder_mb(folder)]), "MB", note="what it has on the disk")
    _report_warm_starts(report, keys, size, place, folder)
    report_workers(report, keys, size.keys, place, folder)
    _against_few(bench, report, keys, size, place, folder)


def _fill_postgres(report: Report, place: Place, records: int) -> None:
    topic = place.topics.lifecycle.name
    with (
        psycopg.connect(place.database_url, autocommit=True) as database,
        place.keeper("projector"),
    ):
        progress = follow(lambda: applied(database, "projector", topic), records)
        database.execute("ANALYZE")
    report.add("the read model's filling meanwhile", Figure([progress.per_second]), "events/s")


def _report_starts(
    report: Report,
    keys: SampleKeys,
    size: Size,
    place: Place,
    what: str,
    goal: Goal | None,
    settings: Mapping[str, str],
) -> None:
    """Starts of a node that knows nothing yet; the last one leaves its folder, where it has one."""
    times: list[float] = []
    for _ in range(size.repeats):
        if "NODE_FOLDER" in settings:
            shutil.rmtree(settings["NODE_FOLDER"], ignore_errors=True)
        began = time.perf_counter()
        with place.api(1, **settings) as api:
            times.append(time.perf_counter() - began)
            _check_answers(api, keys, size.keys)
            memory = follower_memory(api)
    report.add(f"ready {what}", Figure(times), "s", goal, "from the process' start")
    report_follower(report, memory, what)


def _report_warm_starts(report: Report, keys: SampleKeys, size: Size, place: Place, folder: Path) -> None:
    """Starts of a node that was stopped, until it has answered for a key."""
    secret = keys.secret(2)
    times = []
    for _ in range(max(2, size.repeats)):
        began = time.perf_counter()
        with place.api(NODE_FOLDER=str(folder)) as api:
            check(api.url, [(traffic.bearer(secret), 200, keys.key_id(2))])
            times.append(time.perf_counter() - began)
            _check_answers(api, keys, size.keys)
    report.add("warm start until it answers", Figure(times), "s", size.warm, "from the process' start")


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


def _against_few(
    bench: Bench, report: Report, keys: SampleKeys, size: Size, place: Place, folder: Path
) -> None:
    few = bench.servers.place()
    asyncio.run(append_all(few.kafka, few.topics.lifecycle.name, keys.lives(size.few)))

    def asked(count: int) -> Traffic:
        return traffic.many_keys(keys.some_current(count, ASKED_FOR), bench.scaled(traffic.PREPARED, 10_000))

    with ExitStack() as opened:
        of_many = opened.enter_context(place.api(NODE_FOLDER=str(folder)))
        of_few = opened.enter_context(few.api(DATABASE_URL=NO_DATABASE))
        load = Load(CONNECTIONS, bench.seconds)
        found = interleaved(
            {
                "many": functools.partial(bench.generator.run, of_many.url, asked(size.keys), load),
                "few": functools.partial(bench.generator.run, of_few.url, asked(size.few), load),
            },
            bench.repeats,
        )
    many, few_keys = per_second(found["many"]), per_second(found["few"])
    report.add(f"validate, {size.keys:,} keys known", many, "requests/s", note=busiest(found["many"]))
    report.add(f"validate, {size.few:,} keys known", few_keys, "requests/s", note=busiest(found["few"]))
    report.add("many keys against few", ratios(many, few_keys), "x", Goal(0.9))


def main(name: str, usual: Size) -> None:
    """Run it as the command line asks for it."""
    parser = bench_parser(name, million)
    parser.add_argument("--keys", type=int, help=f"how many ({usual.keys:,} where it is not told)")
    parser.add_argument("--snapshot", action="store_true", help="start from Postgres' snapshot, too")
    options = parser.parse_args()
    size = usual
    if options.keys:
        nearest = A_MILLION if options.keys <= A_MILLION.keys else TEN_MILLION
        name, size = f"million_{options.keys}", dataclasses.replace(nearest, keys=options.keys)
    elif options.quick:
        size = dataclasses.replace(size, keys=QUICK_KEYS, few=A_MILLION.few)
    if options.quick:
        size = dataclasses.replace(size, repeats=1)
    if options.snapshot:
        size = dataclasses.replace(size, has_snapshot=True)
    run(name, functools.partial(million, size=size), quick=options.quick)


if __name__ == "__main__":
    main(Path(__file__).stem, A_MILLION)
