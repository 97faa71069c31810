"""What a validation costs, and what more workers and more nodes add."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import traffic
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal, ratios
from bench.interleaved import busiest
from bench.load import Load, Measured, Traffic
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService, Place
from bench.yardstick_servers import bare_echo

WORKERS = (1, 4, 8)
NODES = (2, 3)
CONNECTIONS = 32
KEYS = 1000


def scale(bench: Bench, report: Report) -> None:
    """Processor time of a validation by workers and by nodes, all on one core; and the rate there."""
    keys = SampleKeys(PEPPER)
    place = bench.servers.place()
    records = (keys.created(number) for number in range(KEYS))
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, records))
    asked = traffic.many_keys([keys.secret(number) for number in range(KEYS)], 20_000)
    _by_workers(bench, report, keys, place, asked)
    _by_nodes(bench, report, place, asked)
    report.remark(
        "All workers share one core, so the rate should stay and the time per validation too: what it "
        "grows by is the price of more processes. Cores enough for each are another machine's measurement. "
        "Processor time is that of all processes of a server, of a node's follower too."
    )


@dataclass(slots=True)
class _Measurements:
    """Of the same servers, repeat by repeat."""

    costs_us: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)

    def report(self, report: Report, what: str) -> None:
        report.add(f"processor time a validation, {what}", Figure(self.costs_us), "us")
        report.add(f"rate on one core, {what}", Figure(self.rates), "requests/s", note=busiest(self.measured))

    def against(self, one: _Measurements) -> Figure:
        """How much more processor time than these."""
        return ratios(Figure(self.costs_us), Figure(one.costs_us))


def _by_workers(bench: Bench, report: Report, keys: SampleKeys, place: Place, asked: Traffic) -> None:
    """Ours and the bare echo with as many workers, all of them in turn: each waits while others are asked."""
    with ExitStack() as opened:
        apis = [opened.enter_context(place.api(workers, DATABASE_URL=NO_DATABASE)) for workers in WORKERS]
        echoes = [opened.enter_context(bare_echo(place, keys, apis[0], workers)) for workers in WORKERS]
        found = _measured(bench, asked, [[server] for server in (*apis, *echoes)])
    ours, bare = found[: len(WORKERS)], found[len(WORKERS) :]
    for workers, of_ours, of_bare in zip(WORKERS, ours, bare, strict=True):
        of_ours.report(report, f"{workers} workers of one node")
        of_bare.report(report, f"Y1 with {workers} workers")
    for workers, of_ours, of_bare in list(zip(WORKERS, ours, bare, strict=True))[1:]:
        growth, of_y1 = of_ours.against(ours[0]), of_bare.against(bare[0])
        what = f"processor time, {workers} workers against 1"
        report.add(what, growth, "x")
        report.add(f"{what}, Y1", of_y1, "x")
        report.add(f"{what}, divided by Y1's", ratios(growth, of_y1), "x", Goal(at_most=1.1))


def _by_nodes(bench: Bench, report: Report, place: Place, asked: Traffic) -> None:
    for nodes in NODES:
        with ExitStack() as opened:
            apis = [opened.enter_context(place.api(DATABASE_URL=NO_DATABASE)) for _ in range(nodes)]
            (found,) = _measured(bench, asked, [apis])
        found.report(report, f"{nodes} nodes of one worker")


def _measured(
    bench: Bench, asked: Traffic, groups: Sequence[Sequence[BenchService]]
) -> Sequence[_Measurements]:
    """Each group of servers so many times, in turn, after one of each that does not count."""
    found = [_Measurements() for _ in groups]
    for repeat in range(-1, bench.repeats):
        for servers, measurements in zip(groups, found, strict=True):
            load = Load(CONNECTIONS // len(servers), bench.seconds)
            before = _cpu_seconds(servers)
            measured = bench.generator.run_together([(server.url, asked) for server in servers], load)
            requests = sum(each.right().requests for each in measured)
            if repeat >= 0:
                measurements.costs_us.append((_cpu_seconds(servers) - before) / requests * 1e6)
                measurements.rates.append(sum(each.per_second for each in measured))
                measurements.measured += measured
    return found


def _cpu_seconds(servers: Sequence[BenchService]) -> float:
    return sum(server.cpu_seconds() for server in servers)


if __name__ == "__main__":
    run_bench(Path(__file__).stem, scale)
