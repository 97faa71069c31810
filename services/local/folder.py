"""The data folder: made where it is missing, and held by one `up` at a time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.local.errors import DataFolderInUse, DataFolderUnusable
from services.local.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OURS = frozenset(
    {"admin_token", "key_peppers", "kafka", "lock", "logs", "node", "postgres", "run", "stack.json"}
)


@contextmanager
def data_folder(path: Path) -> Iterator[Path]:
    """Make the data folder where it is missing and hold it for us alone; gives its absolute path.

    Raises DataFolderUnusable when it cannot be made or written, DataFolderInUse when another `up` holds it.
    """
    folder = path.absolute()
    with _lock(folder):
        yield folder


def _lock(folder: Path) -> FileLock:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _shut(folder)
        return FileLock(folder / "lock", wait=False)
    except BlockingIOError:
        raise DataFolderInUse(f"another `hokusai-auth up` is using {folder}") from None
    except OSError as error:
        raise DataFolderUnusable(f"the data folder {folder} cannot be used: {error.strerror}") from error


def _shut(folder: Path) -> None:
    """Keep others out of all that is ours, also of what an earlier version has left open.

    A folder that holds other things too belongs to somebody else: its own rights are left alone.
    """
    entries = list(folder.iterdir())
    ours = [entry for entry in entries if entry.name in _OURS and not entry.is_symlink()]
    for path in [*ours, *([folder] if len(ours) == len(entries) else [])]:
        if path.stat().st_uid == os.geteuid():  # Postgres' folder is another user's where we are root
            path.chmod(path.stat().st_mode & ~0o077)
