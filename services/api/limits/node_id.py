"""The name under which a node publishes its counts. It lives with them: where they are lost, it is lost."""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from pathlib import Path

_SHAPE = re.compile(rb"[0-9a-f]{32}")


def node_id(folder: Path) -> str:
    """The id of the node whose tables are in the folder, the same for all of its processes.

    A node that counted anew under an old name would not be heard until it had counted more than before.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "node_id", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        known = os.read(descriptor, 64)
        if not _SHAPE.fullmatch(known):
            known = uuid.uuid4().hex.encode()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, known, 0)
            os.fsync(descriptor)
        return known.decode()
    finally:
        os.close(descriptor)
