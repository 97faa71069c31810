"""`stack.json`: where everything of a running stack is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from services.local.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FILE = "stack.json"


@dataclass(frozen=True)
class Stack:
    """Where everything of a running stack is; `pids` by process name."""

    api_url: str
    #: Where the api's /ready and /metrics are.
    operations_url: str
    projector_url: str
    windows_url: str
    billing_url: str
    kafka_bootstrap_servers: str
    database_url: str
    supervisor_pid: int
    pids: Mapping[str, int]


def write_stack(folder: Path, stack: Stack) -> None:
    """Tell it in `stack.json`; the file is there exactly while the stack is up."""
    text = json.dumps(asdict(stack), indent=2) + "\n"
    write_whole(folder / _FILE, text, 0o600)  # somebody's DATABASE_URL holds a password


def remove_stack(folder: Path) -> None:
    (folder / _FILE).unlink(missing_ok=True)
