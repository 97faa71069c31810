"""The folder that the processes of one node share, and they alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import SettingsError

TEMPORARY = "hokusai-node-"
NEW_SECONDS = 60.0
RUN = "run"


@contextmanager
def opened_node_folder(configured: Path | None) -> Iterator[Path]:
    """The configured folder, or one that is gone afterwards. What belongs to one run begins anew.

    Raises `SettingsError` where another node has it, or nobody can write there.
    """
    if configured is None:
        _remove_leftovers(Path(tempfile.gettempdir()))
    try:
        folder = configured or Path(tempfile.mkdtemp(prefix=TEMPORARY))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_shared(folder)
        lock = _locked(folder)
        shutil.rmtree(run_folder(folder), ignore_errors=True)
        run_folder(folder).mkdir(mode=0o700)
    except BlockingIOError:
        raise SettingsError([f"NODE_FOLDER: another node is at work in {configured}"]) from None
    except OSError as error:
        raise SettingsError([f"NODE_FOLDER: {error}"]) from None
    try:
        yield folder
    finally:
        os.close(lock)
        if configured is None:
            shutil.rmtree(folder, ignore_errors=True)


def _refuse_shared(folder: Path) -> None:
    """Raises `SettingsError`: whoever may write there decides which keys pass."""
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError([f"NODE_FOLDER: others may write to {folder}"])


def _locked(folder: Path) -> int:
    """A descriptor whose lock lasts as long as it. Raises `BlockingIOError` where somebody else has it."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _remove_leftovers(parent: Path) -> None:
    """A node that was killed could not remove its temporary folder, which holds a copy of all keys."""
    for folder in parent.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            # One that was just made has no lock yet.
            if is_ours and time.time() - found.st_mtime > NEW_SECONDS:
                os.close(_locked(folder))
                shutil.rmtree(folder)


def run_folder(folder: Path) -> Path:
    """Where the node keeps what means nothing to its next run: counters of processes, clock, sockets."""
    return folder / RUN


def limits_folder(folder: Path) -> Path:
    """Where the node keeps what it has counted."""
    return folder / "limits"
