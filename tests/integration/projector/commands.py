"""`hokusai-auth` as an operator runs it, and what docs/operations.md says to run."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.projector.world import World

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


async def hokusai_auth(world: World, *arguments: str, exit_code: int = 0) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "services.cli", *arguments]
    environment = {**os.environ, **world.environment()}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout


def documented(heading: str) -> list[str]:
    """Every command that the section of docs/operations.md names, in order."""
    section = OPERATIONS.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines()]
