"""`hokusai-auth projector`: environment -> settings -> projector."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from events.keeper.main import run_process
from services.projector.app import run
from services.projector.settings import ProjectorSettings


def main(environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; see `run_process` for the exit codes."""
    return run_process("projector", ProjectorSettings, run, environment)


if __name__ == "__main__":
    sys.exit(main(os.environ))
