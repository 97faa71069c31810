"""What /openapi.json says is what the service does: a fuzzer finds no difference, and nothing fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.stack import ADMIN_TOKEN, ApiNode, Stack

SEED = "20261124"
EXAMPLES = "25"
FUZZING_SECONDS = 60
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_a_fuzzer_finds_no_mismatch(stack: Stack, tmp_path: Path) -> None:
    node = a_whole_node(stack)
    run = fuzz(node, tmp_path, f"--seed={SEED}", f"--max-examples={EXAMPLES}", "--continue-on-failure")
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert node.is_running


@pytest.mark.timeout(FUZZING_SECONDS + 120)
def test_nothing_that_a_fuzzer_sends_for_a_minute_is_a_failure_of_ours(stack: Stack, tmp_path: Path) -> None:
    """Another seed each time; the output names it."""
    node = a_whole_node(stack)
    # One worker: Python 3.11 may fail to parse in two threads at once, which would be the fuzzer's failure.
    budget = (f"--max-time={FUZZING_SECONDS}", "--max-examples=100000", "--workers=1")
    run = fuzz(node, tmp_path, *budget, "--checks=not_a_server_error")
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert node.metric("hokusai_api_answers_total") > 1000
    assert node.metric("hokusai_api_answers_total", status="5xx") == 0
    assert node.is_running


def a_whole_node(stack: Stack) -> ApiNode:
    """A node beside everything that its answers depend on."""
    stack.projector()
    stack.billing()
    return stack.api()


def fuzz(node: ApiNode, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={CONFIGURATION}",
            "run",
            f"{node.url}/openapi.json",
            f"--header=Authorization:Bearer {ADMIN_TOKEN}",
            "--generation-database=none",
            *options,
        ],
        cwd=folder,
        env={**os.environ, "API_KEY": node.client.new_key().api_key},
        capture_output=True,
        text=True,
        check=False,
    )
