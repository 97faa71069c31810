"""The admin token and the peppers of a local stack: given, or made once and kept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.local.errors import DataFolderUnusable
from services.local.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Credentials:
    """`admin_tokens` and `key_peppers` as the services read them, in ADMIN_TOKEN and KEY_PEPPERS."""

    admin_tokens: str = field(repr=False)
    key_peppers: str = field(repr=False)

    @property
    def admin_token(self) -> str:
        """The first of the admin tokens."""
        return self.admin_tokens.split(",")[0].strip()


def credentials(folder: Path, environment: Mapping[str, str]) -> Credentials:
    """Those of the environment; what it lacks is made once and kept in the folder, for its owner only."""
    return Credentials(
        environment.get("ADMIN_TOKEN") or _kept(folder / "admin_token", _new_secret),
        environment.get("KEY_PEPPERS") or _kept(folder / "key_peppers", lambda: f"1:{_new_secret()}"),
    )


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        write_whole(path, make(), _OWNER_ONLY)
    path.chmod(_OWNER_ONLY)
    try:
        kept = path.read_text().strip()
    except UnicodeDecodeError:
        kept = ""
    if not kept:
        raise DataFolderUnusable(f"{path} is damaged: put it back, or remove it to have a new one made")
    return kept
