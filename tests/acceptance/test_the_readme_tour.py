"""A newcomer does what the README says, word for word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from services.local.ports import free_ports
from tests.acceptance.eventually import eventually

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
STOP_SECONDS = 10.0


def test_the_tour_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    lifecycle, metered, streams, audit = _shell_blocks("## A tour")
    with _running_stack(tmp_path) as url:
        told = _run(lifecycle + metered + streams + audit, tmp_path)
        key_id = told.splitlines()[0]
        refused = '"error":"API key is inactive or has been revoked"'
        assert re.search(rf'"is_valid":true,"key_id":"{key_id}"', told)
        assert len(re.findall('"is_valid":true', told)) == 2
        assert told.count(refused) == 2
        assert told.count('"message":"API key revoked successfully"') == 1
        assert told.count('"message":"Usage recorded successfully"') == 3
        assert '"total_requests":1,"total_predictions":1500,' in told
        assert '"current_usage":{"requests":1,"predictions":1500,"compute_ms":0},"monthly_limit":1000' in told
        assert '"overage_charges":0.5,' in told
        assert '"prediction":{"requests":1,"predictions":1500,' in told
        assert "200 " * 10 + "429" in told
        assert re.search(r"retry-after: [0-9]+\r?\n", told, re.IGNORECASE)
        assert "KeyCreated" in told
        assert "Postgres is what the log says" in told
        keys = _list_keys(url, tmp_path)
        assert [key["is_active"] for key in keys] == [False, False, True]


def _shell_blocks(heading: str) -> list[str]:
    """The `sh` blocks under a heading of the README."""
    section = (ROOT / "README.md").read_text().split(f"{heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def _run(script: str, folder: Path) -> str:
    """What it prints. Every step has to succeed."""
    finished = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@contextmanager
def _running_stack(folder: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "services.cli", "up", "--port", str(port)]
    with (folder / "up.log").open("a+") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        try:
            stack = folder / ".hokusai" / "stack.json"
            eventually(lambda: stack.exists() or process.poll() is not None, READY_SECONDS, "the stack")
            assert process.poll() is None, (folder / "up.log").read_text()
            yield f"http://127.0.0.1:{port}"
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_SECONDS) == 0
        finally:
            process.kill()
            process.wait()


def _list_keys(url: str, folder: Path) -> list[dict[str, object]]:
    token = (folder / ".hokusai" / "admin_token").read_text().strip()
    answer = httpx.get(f"{url}/api/v1/keys", headers={"Authorization": f"Bearer {token}"})
    keys: list[dict[str, object]] = answer.raise_for_status().json()
    return keys
