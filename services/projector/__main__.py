"""`hokusai-auth projector`: environment -> settings -> one part of the projector."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Literal

from events.keeper.main import run_process
from services.projector.settings import ProjectorSettings, WindowsSettings

#: What one process of the projector keeps: the read models, or the rate windows.
Part = Literal["models", "windows"]


def main(environment: Mapping[str, str], part: Part = "models") -> int:
    """Run the part until SIGTERM or SIGINT; see `run_process` for the exit codes."""
    # Each part imports what it runs: Faust alone takes as long as all the rest.
    if part == "windows":
        from services.projector.rate_windows_process import run as run_windows

        return run_process("projector", WindowsSettings, run_windows, environment)
    from services.projector.app import run

    return run_process("projector", ProjectorSettings, run, environment)


if __name__ == "__main__":
    sys.exit(main(os.environ))
