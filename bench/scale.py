"""What a validation costs, and what more workers and more nodes add."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

from bench import traffic
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure
from bench.interleaved import busiest
from bench.load import Load, Measured
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService, Place

WORKERS = (1, 2, 4)
NODES = (1, 2, 3)
CONNECTIONS = 32
KEYS = 1000


def scale(bench: Bench, report: Report) -> None:
    """Processor time of a validation by workers and by nodes, all on one core; and the rate there."""
    keys = SampleKeys(PEPPER)
    place = bench.servers.place()
    records = (keys.created(number) for number in range(KEYS))
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, records))
    for workers in WORKERS:
        _measure(bench, report, keys, place, f"{workers} workers of one node", 1, workers)
    for nodes in NODES[1:]:
        _measure(bench, report, keys, place, f"{nodes} nodes of one worker", nodes, 1)
    report.remark(
        "All workers share one core, so the rate should stay and the time per validation too: what it "
        "grows by is the price of more processes. Cores enough for each are another machine's measurement."
    )


def _measure(
    bench: Bench, report: Report, keys: SampleKeys, place: Place, what: str, nodes: int, workers: int
) -> None:
    secrets = [keys.secret(number) for number in range(KEYS)]
    mix = traffic.many_keys(secrets, 20_000)
    load = Load(CONNECTIONS // nodes, bench.seconds)
    with ExitStack() as opened:
        apis = [opened.enter_context(place.api(workers, DATABASE_URL=NO_DATABASE)) for _ in range(nodes)]
        costs: list[float] = []
        rates: list[float] = []
        all_measured: list[Measured] = []
        for repeat in range(-1, bench.repeats):
            before = _cpu_seconds(apis)
            measured = bench.generator.run_together([(api.url, mix) for api in apis], load)
            requests = sum(each.right().requests for each in measured)
            if repeat >= 0:
                costs.append((_cpu_seconds(apis) - before) / requests * 1e6)
                rates.append(sum(each.per_second for each in measured))
                all_measured += measured
    report.add(f"processor time a validation, {what}", Figure(costs), "us")
    report.add(f"rate on one core, {what}", Figure(rates), "requests/s", note=busiest(all_measured))


def _cpu_seconds(apis: list[BenchService]) -> float:
    return sum(api.cpu_seconds() for api in apis)


if __name__ == "__main__":
    run_bench(Path(__file__).stem, scale)
