"""A report tells what was missed as plainly as what was reached."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from bench.figure import Figure, Goal
from bench.report import Report, shown


def a_report(*, quick: bool = False) -> Report:
    report = Report("validate", {"cores": 2}, quick)
    report.add("against Y1", Figure([0.5, 0.7, 0.6]), "x", Goal(0.85), "a note")
    report.add("rate", Figure([20_000.0]), "requests/s")
    report.remark("not measured: more cores")
    return report


def test_a_table_shows_medians_goals_and_what_was_missed() -> None:
    output = io.StringIO()
    a_report().print(Console(file=output, width=120))
    text = output.getvalue()
    assert all(part in text for part in ("against Y1", "0.6", ">= 0.85", "MISSED", "a note", "20,000"))
    assert "not measured: more cores" in text


def test_the_figures_of_a_try_out_are_marked() -> None:
    output = io.StringIO()
    a_report(quick=True).print(Console(file=output, width=120))
    assert "the figures mean nothing" in output.getvalue()


def test_json_has_every_repeat_and_the_machine(tmp_path: Path) -> None:
    found = json.loads(a_report().write(tmp_path / "results").read_text())
    assert found["machine"] == {"cores": 2}
    assert found["rows"][0]["values"] == [0.5, 0.7, 0.6]
    assert found["rows"][0]["verdict"] == "MISSED"
    assert found["remarks"] == ["not measured: more cores"]


def test_numbers_have_three_digits_that_count() -> None:
    assert [shown(number) for number in (0.8512, 12.345, 99.96, 20_500.4)] == [
        "0.851",
        "12.3",
        "100",
        "20,500",
    ]
