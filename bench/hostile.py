"""Valid requests beside callers that mean no good: idle and slow connections, floods of what is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench import traffic
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal, ratios
from bench.load import Load, Measured
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService
from services.api.http.connections import raise_descriptor_limit

IDLE = 10_000
SLOW = 1_000
#: 16 connections that wait 16 ms between their requests ask about 1,000 times a second.
VALID = (16, 16)
#: Longer than the api takes to give memory back.
SETTLE_SECONDS = 12.0


def hostile(bench: Bench, report: Report) -> None:
    """p99 of 1,000 valid requests a second, with and without 11,000 held connections and four floods."""
    raise_descriptor_limit()
    idle, slow = bench.scaled(IDLE, 300), bench.scaled(SLOW, 50)
    keys = SampleKeys(PEPPER)
    place = bench.servers.place()
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, [keys.created(0)]))
    load = Load(VALID[0], 2 * bench.seconds, VALID[1])
    calm: list[Measured] = []
    beside: list[Measured] = []
    refused: dict[str, int] = {}
    with place.api(DATABASE_URL=NO_DATABASE) as api:

        def valid_requests() -> Measured:
            return bench.generator.run(api.url, traffic.one_hot_key(keys), load).right()

        valid_requests()
        memory_before = _memory_mb(api)
        for _ in range(bench.repeats):
            calm.append(valid_requests())
            with _adversaries(api, idle, slow, refused):
                beside.append(valid_requests())
            time.sleep(SETTLE_SECONDS)
        memory_after = _memory_mb(api)
    alone, among = (Figure([each.latency_us[99] for each in found]) for found in (calm, beside))
    report.add("valid p99, nobody else", alone, "us", note=f"{_rate(calm):,.0f} requests/s")
    report.add("valid p99, among the hostile", among, "us", note=f"{_rate(beside):,.0f} requests/s")
    report.add("among the hostile, against nobody else", ratios(among, alone), "x", Goal(at_most=1.5))
    grown, size = Figure([memory_after / memory_before]), f"{memory_after:.0f} MB"
    report.add("memory at the end, against the beginning", grown, "x", Goal(at_most=1.2), size)
    for name, count in refused.items():
        report.add(f"refused: {name}", Figure([count]), "connections")
    report.remark(f"Held meanwhile: {idle:,} idle connections and {slow:,} that send a byte a second.")


@contextmanager
def _adversaries(api: BenchService, idle: int, slow: int, refused: dict[str, int]) -> Iterator[None]:
    """All of them at work; what they were refused is added up."""
    command = [sys.executable, "-m", "bench.adversaries", api.url, str(idle), str(slow)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
            process.stdin.close()
            for name, count in json.loads(process.stdout.readline()).items():
                refused[name] = refused.get(name, 0) + count
        finally:
            process.kill()


def _memory_mb(api: BenchService) -> float:
    return sum(psutil.Process(worker.pid).memory_full_info().uss for worker in api.workers()) / 1e6


def _rate(measured: list[Measured]) -> float:
    return Figure([each.per_second for each in measured]).median


if __name__ == "__main__":
    run_bench(Path(__file__).stem, hostile)
