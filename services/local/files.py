"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file at once: readers see the old text or the new, and it never has a looser mode."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    draft.rename(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives a draft to fill; it becomes the folder when all went well, so a half-filled one is never seen."""
    draft = path.with_name(f"{path.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    yield draft
    draft.rename(path)
