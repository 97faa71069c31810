"""One table of all that was found."""

from __future__ import annotations

from pathlib import Path

from bench.summary import summary
from tests.unit.bench.test_report import a_report


def test_it_tells_medians_spreads_goals_and_what_was_missed(tmp_path: Path) -> None:
    a_report().write(tmp_path)

    table = summary(tmp_path)

    assert "### validate\n" in table
    assert "| against Y1 | 0.6 x | 0.5 to 0.7 | >= 0.85 | MISSED, a note |" in table
    assert "| rate | 20,000 requests/s | once |  |  |" in table
    assert table.endswith("not measured: more cores")


def test_a_try_out_is_marked(tmp_path: Path) -> None:
    a_report(quick=True).write(tmp_path)

    assert "### validate (quick: the figures mean nothing)\n" in summary(tmp_path)


def test_a_bench_that_was_not_run_is_left_out(tmp_path: Path) -> None:
    assert summary(tmp_path) == ""
