"""A measured number: the median of its repeats, and how far they lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number for each repeat, in the order they were measured. At least one."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure's median has to reach: this at least, or, for what should be small, this at most."""

    at_least: float | None = None
    at_most: float | None = None

    def is_reached(self, figure: Figure) -> bool:
        is_high_enough = self.at_least is None or figure.median >= self.at_least
        return is_high_enough and (self.at_most is None or figure.median <= self.at_most)


def ratios(ours: Figure, yardstick: Figure) -> Figure:
    """Ours against the yardstick, repeat by repeat: what disturbs the machine disturbs both."""
    return Figure([a / b for a, b in zip(ours.values, yardstick.values, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]
