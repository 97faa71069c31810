"""How fast the read models come back from the log, and how fast an auditor reads it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal
from bench.progress import Progress, applied, follow
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import PEPPER, Place

KEYS = 250_000


def rebuild(bench: Bench, report: Report) -> None:
    """The schema `projector` dropped and filled again, and `audit replay`, over the same log."""
    place = bench.servers.place()
    lives = SampleKeys(PEPPER).lives(bench.scaled(KEYS, 20_000))
    records = asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, lives))
    repeats = 1 if bench.quick else 3
    rebuilds = [_rebuild(place, records) for _ in range(repeats)]
    rates = Figure([each.per_second for each in rebuilds])
    report.add("rebuild of the lifecycle read model", rates, "events/s", Goal(30_000), "first commit to last")
    replays = [_replay(place, records) for _ in range(bench.repeats)]
    note = "the whole command, start of Python included"
    report.add("audit replay: read and fold", Figure(replays), "events/s", Goal(100_000), note)
    report.remark(f"The log: {records:,} records. Kafka, Postgres and the reader share all cores.")


def _rebuild(place: Place, records: int) -> Progress:
    with psycopg.connect(place.database_url, autocommit=True) as database:
        database.execute("DROP SCHEMA IF EXISTS projector CASCADE")
        with place.keeper("projector"):
            return follow(lambda: applied(database, "projector", place.topics.lifecycle.name), records)


def _replay(place: Place, records: int) -> float:
    command = place.cores.unpinned([sys.executable, "-m", "services.cli", "audit", "replay", "--json"])
    began = time.perf_counter()
    found = subprocess.run(command, env=place.environment(), check=True, capture_output=True)  # noqa: S603
    seconds = time.perf_counter() - began
    assert f'"records": {records}' in found.stdout.decode()
    return records / seconds


if __name__ == "__main__":
    run_bench(Path(__file__).stem, rebuild)
