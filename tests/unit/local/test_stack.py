from __future__ import annotations

import json
import stat
from pathlib import Path

from services.local.stack import Stack, remove_stack, write_stack

STACK = Stack(
    api_url="http://127.0.0.1:8000",
    operations_url="http://127.0.0.1:8000",
    projector_url="http://127.0.0.1:9101",
    windows_url="http://127.0.0.1:9103",
    billing_url="http://127.0.0.1:9102",
    kafka_bootstrap_servers="127.0.0.1:9092",
    database_url="postgresql://user:password@database/hokusai",
    supervisor_pid=1,
    pids={"kafka": 2, "api": 3},
)


def test_it_tells_where_everything_is_to_its_owner(tmp_path: Path) -> None:
    write_stack(tmp_path, STACK)
    written = tmp_path / "stack.json"
    assert json.loads(written.read_text()) == {
        "api_url": "http://127.0.0.1:8000",
        "operations_url": "http://127.0.0.1:8000",
        "projector_url": "http://127.0.0.1:9101",
        "windows_url": "http://127.0.0.1:9103",
        "billing_url": "http://127.0.0.1:9102",
        "kafka_bootstrap_servers": "127.0.0.1:9092",
        "database_url": "postgresql://user:password@database/hokusai",
        "supervisor_pid": 1,
        "pids": {"kafka": 2, "api": 3},
    }
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_it_goes_and_may_be_gone_already(tmp_path: Path) -> None:
    write_stack(tmp_path, STACK)
    remove_stack(tmp_path)
    remove_stack(tmp_path)
    assert list(tmp_path.iterdir()) == []
