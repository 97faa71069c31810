"""What all benches have found last, as one Markdown table: `python -m bench.summary`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.figure import Figure, Goal
from bench.report import RESULTS, shown, shown_goal

BENCHES = (
    "validate",
    "scale",
    "million",
    "ten_million",
    "revocation",
    "hostile",
    "usage",
    "rebuild",
    "limiter",
    "retired_pepper",
)


def summary(folder: Path = RESULTS) -> str:
    """A section for each bench that has a result, with its figures and what it says of them."""
    found = [json.loads(path.read_text()) for name in BENCHES if (path := folder / f"{name}.json").exists()]
    return "\n\n".join("\n".join(_section(result)) for result in found)


def _section(result: Mapping[str, Any]) -> Iterator[str]:
    tried = " (quick: the figures mean nothing)" if result["quick"] else ""
    yield f"### {result['bench']}{tried}"
    yield ""
    yield "| what | median | lowest to highest | goal | |"
    yield "|---|---|---|---|---|"
    for row in result["rows"]:
        yield f"| {' | '.join(_cells(row))} |"
    for remark in result["remarks"]:
        yield f"\n{remark}"


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    figure = Figure(row["values"])
    goal = Goal(**row["goal"]) if row["goal"] else None
    spread = f"{shown(figure.lowest)} to {shown(figure.highest)}" if len(figure.values) > 1 else "once"
    verdict = ", ".join(text for text in (row["verdict"], row["note"]) if text)
    return row["what"], f"{shown(figure.median)} {row['unit']}", spread, shown_goal(goal), verdict


if __name__ == "__main__":
    print(summary())  # noqa: T201
