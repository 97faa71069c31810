"""What is said of repeated measurements."""

from __future__ import annotations

import pytest

from bench.figure import Figure, Goal, percentile, ratios


def test_one_disturbed_repeat_does_not_move_the_figure() -> None:
    figure = Figure([10.0, 11.0, 9.0, 500.0, 10.5])
    assert (figure.median, figure.lowest, figure.highest) == (10.5, 9.0, 500.0)


def test_ratios_are_taken_repeat_by_repeat() -> None:
    """A machine that is half as fast for a while halves both sides of it."""
    assert ratios(Figure([80.0, 40.0]), Figure([100.0, 50.0])).values == [0.8, 0.8]


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        pytest.param(Goal(at_least=10), True, id="enough"),
        pytest.param(Goal(at_least=10.1), False, id="too little"),
        pytest.param(Goal(at_most=10), True, id="small enough"),
        pytest.param(Goal(at_most=9.9), False, id="too much"),
    ],
)
def test_a_goal_is_reached_by_the_median(goal: Goal, reached: bool) -> None:
    assert goal.is_reached(Figure([1.0, 10.0, 99.0])) is reached


@pytest.mark.parametrize(
    ("percent", "value"),
    [
        pytest.param(50, 50, id="half"),
        pytest.param(99, 99, id="almost all"),
        pytest.param(99.9, 100, id="all but a thousandth"),
        pytest.param(0, 1, id="none"),
    ],
)
def test_so_many_percent_do_not_exceed_the_percentile(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value
