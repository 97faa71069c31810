"""What a bench has found: a table for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figure import Figure, Goal

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `note` says what a reader must know to understand it."""

    what: str
    figure: Figure
    unit: str
    goal: Goal | None
    note: str

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "reached" if self.goal.is_reached(self.figure) else "MISSED"


@dataclass(slots=True)
class Report:
    """The rows of one bench, in the order of their adding. `quick`: a try-out, its figures mean nothing."""

    bench: str
    machine: Mapping[str, object]
    quick: bool
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, what: str, figure: Figure, unit: str, goal: Goal | None = None, note: str = "") -> None:
        self.rows.append(Row(what, figure, unit, goal, note))

    def remark(self, text: str) -> None:
        """What was not measured, or what the figures do not say."""
        self.remarks.append(text)

    def print(self, console: Console) -> None:
        title = self.bench + (" (quick: the figures mean nothing)" if self.quick else "")
        table = Table(title=title, box=None, title_justify="left")
        for column in ("what", "median", "lowest", "highest", "unit", "goal", "", "note"):
            is_number = column in ("median", "lowest", "highest")
            table.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for row in self.rows:
            figure = row.figure
            numbers = (shown(figure.median), shown(figure.lowest), shown(figure.highest))
            table.add_row(row.what, *numbers, row.unit, shown_goal(row.goal), row.verdict, row.note)
        console.print(table)
        for text in self.remarks:
            console.print(f"  {text}")

    def write(self, folder: Path = RESULTS) -> Path:
        """Into `<folder>/<bench>.json`, over what was there before."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.bench}.json"
        path.write_text(json.dumps(self._facts(), indent=2) + "\n")
        return path

    def _facts(self) -> dict[str, object]:
        return {
            "bench": self.bench,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": self.quick,
            "machine": dict(self.machine),
            "rows": [
                {
                    "what": row.what,
                    "unit": row.unit,
                    "median": row.figure.median,
                    "values": list(row.figure.values),
                    "goal": asdict(row.goal) if row.goal else None,
                    "verdict": row.verdict,
                    "note": row.note,
                }
                for row in self.rows
            ],
            "remarks": self.remarks,
        }


def shown(number: float) -> str:
    """Three digits that count; whole thousands with separators."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def shown_goal(goal: Goal | None) -> str:
    """What is to be reached; nothing where nothing is."""
    if goal is None:
        return ""
    if goal.at_least is not None:
        return f">= {shown(goal.at_least)}"
    return "" if goal.at_most is None else f"<= {shown(goal.at_most)}"
