"""How many requests pass beyond a limit when several workers count, each for itself, at the same time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import traffic
from bench.answers import ask
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal
from bench.load import Load, Traffic
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, Place

LIMIT = 10_000
RATE = 4000
CONNECTIONS = 32
#: Nodes of so many workers each.
LAYOUTS = ((1, 1), (1, 2), (1, 4), (2, 2))
ANSWERS = {200: '"is_valid":true', 429: "Rate limit exceeded"}


def limiter(bench: Bench, report: Report) -> None:
    """Over-admission with a limit of 10,000 an hour at 4,000 requests a second, by nodes and workers."""
    limit = bench.scaled(LIMIT, 2000)
    keys = SampleKeys(PEPPER, rate_limit_per_hour=limit)
    place = bench.servers.place()
    count = len(LAYOUTS) * bench.repeats
    records = (keys.created(number) for number in range(0, 2 * count, 2))
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, records))
    number = 0
    for nodes, workers in LAYOUTS:
        over: list[float] = []
        for _ in range(bench.repeats):
            over.append(_over_admitted(bench, place, keys.secret(number), limit, nodes, workers))
            number += 2
        what = f"admitted beyond {limit:,}, {nodes} x {workers} workers"
        shares = Figure([100 * each / limit for each in over])
        is_four_of_one = (nodes, workers) == (1, 4)
        report.add(what, shares, "%", Goal(at_most=1) if is_four_of_one else None, f"{max(over):.0f} at most")
    report.remark(
        "Stated bound: the other workers' 1 + rate x propagation each. Every run has a key of its own and "
        "fresh workers; none crosses an hour."
    )


def _over_admitted(bench: Bench, place: Place, secret: str, limit: int, nodes: int, workers: int) -> float:
    seconds = math.ceil(2.5 * limit / RATE) + 1
    _stay_within_an_hour(seconds + 30)
    with ExitStack() as opened:
        urls = [opened.enter_context(place.api(workers, DATABASE_URL=NO_DATABASE)).url for _ in range(nodes)]
        headers = dict(ask(urls[0], traffic.bearer(secret)).headers)
        if "ratelimit-limit" not in headers:
            raise RuntimeError("this api limits nothing yet")
        # Each connection waits so long that all of them together ask at the rate.
        load = Load(CONNECTIONS // nodes, seconds, pause_ms=round(CONNECTIONS / RATE * 1000))
        admitted = _admitted(bench, urls, Traffic([traffic.bearer(secret)], ANSWERS), load)
    # The first question above was admitted as well.
    return max(0, admitted + 1 - limit)


def _admitted(bench: Bench, urls: Sequence[str], asked: Traffic, load: Load) -> int:
    found = bench.generator.run_together([(url, asked) for url in urls], load)
    admitted = sum(each.right().statuses.get(200, 0) for each in found)
    if not any(each.statuses.get(429) for each in found):
        raise RuntimeError(f"this machine is too slow: only {admitted} requests came, below the limit")
    return admitted


def _stay_within_an_hour(seconds: float) -> None:
    """Windows are clock hours: a run across their border would have two of them."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 1)


if __name__ == "__main__":
    run_bench(Path(__file__).stem, limiter)
