from __future__ import annotations

import io
import re

from rich.console import Console

from services.local.progress import steps_on


def test_without_a_terminal_it_is_plain_lines() -> None:
    out = io.StringIO()
    with steps_on(Console(file=out, force_terminal=False, width=20)) as steps:
        steps.begin("kafka", "kafka 4.3.1, fetching its jars [44 MB] once")
        steps.done("kafka")
    first, second = out.getvalue().splitlines()
    assert first == "kafka 4.3.1, fetching its jars [44 MB] once ..."
    assert re.fullmatch(r"kafka: ready \(\d+\.\d s\)", second)


def test_on_a_terminal_it_is_a_live_list() -> None:
    out = io.StringIO()
    with steps_on(Console(file=out, force_terminal=True, width=80)) as steps:
        steps.begin("kafka", "kafka 4.3.1")
        steps.begin("api", "api")
        steps.done("kafka")
    kafka = out.getvalue().rpartition("kafka 4.3.1")[0].splitlines()[-1]
    api = out.getvalue().rpartition("api")[0].splitlines()[-1]
    assert "✓" in kafka
    assert "✓" not in api
