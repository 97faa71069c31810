"""What `up` keeps is for its owner alone: hashes of keys stand in Kafka's segments, and in Postgres."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from tests.acceptance.up import Up

STRANGER = 65534  # nobody


def test_nobody_else_can_look_into_the_data_folder(tmp_path: Path) -> None:
    left_open = tmp_path / "data" / "logs" / "api.log"
    left_open.parent.mkdir(parents=True)
    left_open.write_text("from an earlier version")
    for path in (*left_open.parents[:2], left_open):
        path.chmod(0o755)
    for above in tmp_path.parents[:-1]:
        above.chmod(above.stat().st_mode | stat.S_IXOTH)  # only the folder's own rights are to hide it

    with Up(tmp_path) as up:
        up.wait_ready().create_key()
        opened = reached_by_others(up.data)
        assert not opened, opened
        if os.geteuid() == 0:
            assert_hidden_from(STRANGER, up.data)


def reached_by_others(folder: Path) -> list[Path]:
    """What somebody who is neither the owner nor of the owner's group could read, write or pass.

    Only as far as he gets: behind a folder that he can't pass, nothing is his to reach.
    """
    mode = folder.stat().st_mode
    found = [folder] if mode & stat.S_IRWXO else []
    if mode & stat.S_IXOTH:
        found += [path for path in folder.iterdir() if path.stat().st_mode & stat.S_IRWXO]
    return found


LOOK = """
import os, sys
folder, user = sys.argv[1], int(sys.argv[2])
os.setgroups([]); os.setgid(user); os.setuid(user)
try:
    os.listdir(folder)
except PermissionError:
    pass
else:
    sys.exit("the folder was listed")
for name in ("logs/kafka.log", "logs/api.log", "kafka/data", "stack.json", "admin_token", "postgres"):
    try:
        os.stat(os.path.join(folder, name))
    except PermissionError:
        continue
    sys.exit(f"{name} was found")
"""


def assert_hidden_from(user: int, folder: Path) -> None:
    looked = subprocess.run(
        [sys.executable, "-c", LOOK, str(folder), str(user)], capture_output=True, text=True, check=False
    )
    assert looked.returncode == 0, looked.stderr
