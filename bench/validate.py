"""Validation against what limits it, what one would do with a framework, and what one would write first."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from pathlib import Path

from bench import traffic
from bench.answers import check
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal, ratios
from bench.interleaved import Run, busiest, interleaved, latency, per_second
from bench.load import Load, Measured, Traffic
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService
from bench.yardstick_servers import yardsticks

CONNECTIONS = 32
KEYS = 100_000
CHECKED = 200
#: 32 connections that wait 4 ms between requests ask for some 7,000 a second: a third of what is possible.
PAUSE_MS = 4


def validate(bench: Bench, report: Report) -> None:
    """Requests a second, latencies and mixes of POST /api/v1/keys/validate, on one core."""
    keys = SampleKeys(PEPPER)
    count = bench.scaled(KEYS, 2000)
    place = bench.servers.place()
    records = (keys.created(number) for number in range(count))
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, records))
    with place.api(DATABASE_URL=NO_DATABASE) as api, yardsticks(place, keys, api) as others:
        _check_answers(api, keys, count)
        _against_yardsticks(bench, report, keys, api, others)
        _mixes(bench, report, keys, count, api)
        _among_bad_keys(bench, report, keys, api)
        _one_at_a_time(bench, report, keys, api)


def _check_answers(api: BenchService, keys: SampleKeys, count: int) -> None:
    spread = range(0, count, max(1, count // CHECKED))
    check(api.url, [(traffic.bearer(keys.secret(n)), 200, keys.key_id(n)) for n in spread])
    check(api.url, [(request, 401, None) for request in traffic.bad_keys(20).requests])


def _against_yardsticks(
    bench: Bench, report: Report, keys: SampleKeys, api: BenchService, others: Mapping[str, BenchService]
) -> None:
    hot = traffic.one_hot_key(keys)
    # bcrypt takes a fifth of a second: a few at once, or they would only wait for each other.
    slow = Load(connections=2, seconds=max(bench.seconds, 3.0))
    found = interleaved(
        {
            "ours": _run(bench, api, hot, bench.seconds),
            "Y1": _run(bench, others["bare"], hot, bench.seconds),
            "Y2": _run(bench, others["framework"], hot, bench.seconds),
            "Y3": _until_idle(
                others["naive"], functools.partial(bench.generator.run, others["naive"].url, hot, slow)
            ),
        },
        bench.repeats,
    )
    for name, what in (
        ("ours", "validate, one hot key"),
        ("Y1", "Y1: bare ASGI, the same headers and body"),
        ("Y2", "Y2: FastAPI and pydantic, the same body"),
        ("Y3", "Y3: one look-up in Postgres and one bcrypt-12"),
    ):
        report.add(what, per_second(found[name]), "requests/s", note=busiest(found[name]))
    ours = per_second(found["ours"])
    for name, goal in (("Y1", 0.9), ("Y2", 4.0), ("Y3", 1000.0)):
        report.add(f"validate against {name}", ratios(ours, per_second(found[name])), "x", Goal(goal))
    for name in ("ours", "Y1"):
        report.add(f"p99 of {name}, as fast as it can", latency(found[name], 99), "us")
    calm = interleaved(
        {
            "ours": _run(bench, api, hot, bench.seconds, PAUSE_MS),
            "Y1": _run(bench, others["bare"], hot, bench.seconds, PAUSE_MS),
        },
        bench.repeats,
    )
    rate = per_second(calm["ours"]).median
    for name in ("ours", "Y1"):
        report.add(
            f"p99 of {name} at one load", latency(calm[name], 99), "us", note=f"{rate:,.0f} requests/s"
        )
    worse = ratios(latency(calm["ours"], 99), latency(calm["Y1"], 99))
    report.add("p99 against Y1's at one load", worse, "x", Goal(at_most=1.3))


def _mixes(bench: Bench, report: Report, keys: SampleKeys, count: int, api: BenchService) -> None:
    secrets = [keys.secret(number) for number in range(count)]
    mixes = {
        "one hot key": traffic.one_hot_key(keys),
        f"{count:,} keys by Zipf": traffic.many_keys(secrets, bench.scaled(traffic.PREPARED, 10_000)),
        "keys with scopes, allowlist, limit": traffic.fenced_keys(keys, min(count, 2000)),
        "X-API-Key": traffic.by_header(keys),
        "key in the body": traffic.in_body(keys),
        "unknown keys": traffic.bad_keys(),
    }
    found = interleaved(
        {name: _run(bench, api, mix, bench.seconds) for name, mix in mixes.items()}, bench.repeats
    )
    hot = per_second(found["one hot key"])
    for name, measured in found.items():
        report.add(f"mix: {name}", per_second(measured), "requests/s")
        goal = Goal(0.95) if "Zipf" in name else None
        if name != "one hot key":
            report.add(f"mix: {name}, against one hot key", ratios(per_second(measured), hot), "x", goal)


def _among_bad_keys(bench: Bench, report: Report, keys: SampleKeys, api: BenchService) -> None:
    """Two generators at once, half of the connections each, so that valid requests are timed alone."""
    half = Load(CONNECTIONS // 2, bench.seconds, PAUSE_MS)
    hot, bad = traffic.one_hot_key(keys), traffic.bad_keys()

    def beside(other: Traffic) -> Run:
        def run_both() -> Measured:
            timed, beside_it = bench.generator.run_together([(api.url, hot), (api.url, other)], half)
            beside_it.right()
            return timed

        return run_both

    found = interleaved({"valid": beside(hot), "invalid": beside(bad)}, bench.repeats)
    alone, among = latency(found["valid"], 99), latency(found["invalid"], 99)
    report.add("valid keys' p99, beside as many valid ones", alone, "us")
    report.add("valid keys' p99, beside as many invalid ones", among, "us")
    report.add("valid keys' p99, invalid against valid beside", ratios(among, alone), "x", Goal(at_most=1.2))


def _one_at_a_time(bench: Bench, report: Report, keys: SampleKeys, api: BenchService) -> None:
    single = Load(1, bench.seconds / 2)
    runs: dict[str, Run] = {
        "valid": functools.partial(bench.generator.run, api.url, traffic.one_hot_key(keys), single),
        "unknown": functools.partial(bench.generator.run, api.url, traffic.bad_keys(), single),
    }
    found = interleaved(runs, bench.repeats)
    valid, unknown = latency(found["valid"], 50), latency(found["unknown"], 50)
    report.add("median of a valid key, one at a time", valid, "us")
    report.add("median of an unknown key, one at a time", unknown, "us")
    apart = Figure([abs(a - b) for a, b in zip(valid.values, unknown.values, strict=True)])
    report.add("valid and unknown, medians apart", apart, "us", Goal(at_most=50))


def _run(bench: Bench, server: BenchService, mix: Traffic, seconds: float, pause_ms: int = 0) -> Run:
    load = Load(CONNECTIONS, seconds, pause_ms)
    return functools.partial(bench.generator.run, server.url, mix, load)


def _until_idle(server: BenchService, run: Run) -> Run:
    """For one that goes on with bcrypt after its callers have left: on the core of whoever comes next."""

    def run_and_wait() -> Measured:
        measured = run()
        server.wait_idle()
        return measured

    return run_and_wait


if __name__ == "__main__":
    run_bench(Path(__file__).stem, validate)
