"""What /openapi.json says is what the running service does: a fuzzer finds no difference."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.acceptance.stack import ADMIN_TOKEN, Stack

SEED = "20261124"
EXAMPLES = "25"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_a_fuzzer_finds_no_mismatch(stack: Stack, tmp_path: Path) -> None:
    stack.projector()
    stack.billing()
    node = stack.api()
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={CONFIGURATION}",
            "run",
            f"{node.url}/openapi.json",
            f"--header=Authorization:Bearer {ADMIN_TOKEN}",
            f"--seed={SEED}",
            f"--max-examples={EXAMPLES}",
            "--continue-on-failure",
            "--generation-database=none",
        ],
        cwd=tmp_path,
        env={**os.environ, "API_KEY": node.client.new_key().api_key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert node.is_running
