"""How many requests pass beyond a limit that several workers count together, some of which are killed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench.answers import ask
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal
from bench.limited_key import LimitedKey
from bench.load import Load, Measured, Traffic
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService, Place

LIMIT = 10_000
RATE = 4000
CONNECTIONS = 32
#: Nodes of so many workers each, and what may pass beyond the limit. Other nodes learn of it a little later.
LAYOUTS = ((1, 1, Goal(at_most=0)), (1, 4, Goal(at_most=0)), (1, 8, Goal(at_most=0)), (2, 2, None))
#: Of four workers one is killed at each of these shares of the limit.
WORKERS_OF_KILLED = 4
KILLED_AT = (0.25, 0.5)
POLL_SECONDS = 0.01
#: A node of eight workers on one core takes its time.
START_SECONDS = 60
ANSWERS = {200: '"is_valid":true', 429: "Rate limit exceeded"}


def limiter(bench: Bench, report: Report) -> None:
    """Over-admission with a limit of 10,000 an hour at 4,000 requests a second, by nodes and workers."""
    limit = bench.scaled(LIMIT, 2000)
    place = bench.servers.place()
    runs = (len(LAYOUTS) + 1) * bench.repeats
    keys = _new_keys(place, limit, range(runs))
    for nodes, workers, goal in LAYOUTS:
        over = [_over_admitted(bench, place, next(keys), nodes, workers) for _ in range(bench.repeats)]
        report.add(f"admitted beyond {limit:,}, {nodes} x {workers} workers", Figure(over), "requests", goal)
    spacious = _new_keys(place, 100 * limit, range(runs, runs + bench.repeats))
    _report_killed(bench, report, place, limit, keys, spacious)
    report.remark(
        "Stated bound: the other nodes' 1 + rate x propagation each. Every run has a key of its own and "
        "fresh workers; none crosses an hour. What a worker that was killed had not answered yet is in no "
        "figure; refunded is what was answered and is not counted as used."
    )


def _new_keys(place: Place, limit: int, numbers: range) -> Iterator[LimitedKey]:
    """Keys with this limit that nobody has used."""
    keys = SampleKeys(PEPPER, rate_limit_per_hour=limit)
    # The even ones: the others have an allowlist.
    records = (keys.created(2 * number) for number in numbers)
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, records))
    return (LimitedKey(keys.secret(2 * number), limit) for number in numbers)


def _over_admitted(bench: Bench, place: Place, key: LimitedKey, nodes: int, workers: int) -> int:
    seconds = _seconds(key.limit)
    _stay_within_an_hour(seconds + START_SECONDS)
    with ExitStack() as opened:
        apis = [opened.enter_context(place.api(workers, DATABASE_URL=NO_DATABASE)) for _ in range(nodes)]
        found = _asked(bench, apis, key, seconds)
        return max(0, _admitted_of_more(found) - key.limit)


def _report_killed(
    bench: Bench,
    report: Report,
    place: Place,
    limit: int,
    keys: Iterator[LimitedKey],
    spacious: Iterator[LimitedKey],
) -> None:
    """Two runs of each repeat: one reaches its limit, one does not, so that what is left can be read."""
    over, refunded = [], []
    seconds, at = _seconds(limit), [round(share * limit) for share in KILLED_AT]
    for _ in range(bench.repeats):
        _stay_within_an_hour(2 * (seconds + START_SECONDS))
        with place.api(WORKERS_OF_KILLED, DATABASE_URL=NO_DATABASE) as api:
            key = next(keys)
            found, own = _asked_among_kills(bench, api, key, seconds, at)
            over.append(max(0, _admitted_of_more(found) + own - limit))
        with place.api(WORKERS_OF_KILLED, DATABASE_URL=NO_DATABASE) as api:
            key = next(spacious)
            found, own = _asked_among_kills(bench, api, key, seconds, at)
            used_before_last = key.used(ask(api.url, key.request)) - 1
            refunded.append(max(0, _admitted(found) + own - used_before_last))
    killed = f"{len(at)} of {WORKERS_OF_KILLED} workers killed meanwhile"
    report.add(f"admitted beyond {limit:,}, {killed}", Figure(over), "requests", Goal(at_most=0))
    report.add(f"refunded, {killed}", Figure(refunded), "requests", Goal(at_most=0))


def _asked_among_kills(
    bench: Bench, api: BenchService, key: LimitedKey, seconds: int, at: Sequence[int]
) -> tuple[list[Measured], int]:
    """What the generator has measured, and how many of the killer's own questions were admitted."""
    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(_kill_workers, api, key, at)
        found = _asked(bench, [api], key, seconds, may_lose=True)
        return found, killing.result()


def _kill_workers(api: BenchService, key: LimitedKey, at: Sequence[int]) -> int:
    """SIGKILL to one worker after the other, as soon as so many requests are used. How many were its own."""
    admitted = 0
    for used, victim in zip(at, api.workers(), strict=False):
        while (answer := key.ask_anyone(api.url)) is None or key.used(answer) < used:
            admitted += answer is not None and answer.status == 200
            time.sleep(POLL_SECONDS)
        admitted += answer.status == 200
        victim.kill()
    return admitted


def _asked(
    bench: Bench, apis: Sequence[BenchService], key: LimitedKey, seconds: int, *, may_lose: bool = False
) -> list[Measured]:
    # Each connection waits so long that all of them together ask at the rate.
    load = Load(CONNECTIONS // len(apis), seconds, pause_ms=round(CONNECTIONS / RATE * 1000))
    traffic = Traffic([key.request], ANSWERS)
    found = bench.generator.run_together([(api.url, traffic) for api in apis], load)
    return [each.right(may_lose=may_lose) for each in found]


def _admitted(found: Sequence[Measured]) -> int:
    return sum(each.statuses.get(200, 0) for each in found)


def _admitted_of_more(found: Sequence[Measured]) -> int:
    """The same; raises unless the limit was reached."""
    if not any(each.statuses.get(429) for each in found):
        raise RuntimeError(
            f"this machine is too slow: only {_admitted(found)} requests came, below the limit"
        )
    return _admitted(found)


def _seconds(limit: int) -> int:
    """Enough for more than twice the limit."""
    return math.ceil(2.5 * limit / RATE) + 1


def _stay_within_an_hour(seconds: float) -> None:
    """Windows are clock hours: a run across their border would have two of them."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 1)


if __name__ == "__main__":
    run_bench(Path(__file__).stem, limiter)
