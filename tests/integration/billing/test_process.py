"""`python -m services.billing`, as its users run it: ready, measured, and gone within seconds when told."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

from services.local.ports import LOOPBACK
from services.local.service import Service
from tests.integration.billing.world import World


def test_it_is_ready_tells_its_numbers_and_stops_when_told(world: World, tmp_path: Path) -> None:
    environment = world.environment()
    url = f"http://{LOOPBACK}:{environment['METRICS_PORT']}"
    command = [sys.executable, "-m", "services.billing"]
    process = Service("billing", tmp_path, command, environment, f"{url}/ready")
    process.start()
    try:
        process.wait_ready()
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            metrics = answer.read().decode()
        for name in ("months_due", "statements_outgoing", "statements_closed_total", "log_is_ours"):
            assert f"\nbilling_{name} " in metrics
        process.terminate()
        process.wait_stopped(10)
        assert process.exit_code == 0
    finally:
        process.kill()
