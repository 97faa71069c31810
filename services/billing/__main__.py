"""`hokusai-auth billing`: environment -> settings -> billing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from events.keeper.main import run_process
from services.billing.app import run
from services.billing.settings import BillingSettings


def main(environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; see `run_process` for the exit codes."""
    return run_process("billing", BillingSettings, run, environment)


if __name__ == "__main__":
    sys.exit(main(os.environ))
