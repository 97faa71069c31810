from __future__ import annotations

import subprocess
import sys


def test_the_command_starts_without_what_its_commands_need() -> None:
    """Help, and each service, would otherwise wait for the imports of all others."""
    script = "import sys, services.cli; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert loaded.isdisjoint({"aiokafka", "fastapi", "psycopg", "pydantic", "uvicorn", "services.local.up"})


def test_a_crash_does_not_print_local_variables() -> None:
    script = """
import services.cli
@services.cli.app.command()
def crash() -> None:
    secret = "sec" + "ret-value"
    raise RuntimeError("on purpose")
services.cli.main()
"""
    run = subprocess.run([sys.executable, "-c", script, "crash"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "on purpose" in run.stderr
    assert "secret-value" not in run.stderr
