"""Repeats that take turns: what disturbs the machine for a while disturbs all that is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.figure import Figure
from bench.load import Measured

Run = Callable[[], Measured]


def interleaved(runs: Mapping[str, Run], repeats: int) -> dict[str, list[Measured]]:
    """Each run so many times, in turn, after one of each that does not count. All answers were right."""
    for run in runs.values():
        run().right()
    found: dict[str, list[Measured]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run().right())
    return found


def per_second(measured: list[Measured]) -> Figure:
    return Figure([each.per_second for each in measured])


def latency(measured: list[Measured], percent: float) -> Figure:
    """In microseconds."""
    return Figure([each.latency_us[percent] for each in measured])


def busiest(measured: list[Measured]) -> str:
    """A note where the generator itself may have been the limit."""
    share = max(each.generator_busy for each in measured)
    return f"generator used {share:.0%} of a core" + (": ITS LIMIT, NOT OURS" if share > 0.9 else "")
