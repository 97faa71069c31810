"""Paths as they are meant: a base URL that ends with a slash makes two of one."""

from __future__ import annotations

import re

_SLASHES = re.compile("/{2,}")


def plain_path(path: str) -> str:
    """Without doubled slashes, and without one at the end."""
    if "//" in path or (path.endswith("/") and len(path) > 1):
        return _SLASHES.sub("/", path).rstrip("/") or "/"
    return path
