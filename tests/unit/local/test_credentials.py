from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.api.settings import ApiSettings
from services.local.credentials import credentials
from services.local.errors import DataFolderUnusable


def test_what_the_environment_lacks_is_made_once_and_kept(tmp_path: Path) -> None:
    made = credentials(tmp_path, {})
    assert credentials(tmp_path, {"ADMIN_TOKEN": ""}) == made
    assert credentials(tmp_path / "..", {}) != made


@pytest.mark.parametrize("name", ["admin_token", "key_peppers"])
def test_only_the_owner_can_read_them(tmp_path: Path, name: str) -> None:
    credentials(tmp_path, {})
    (tmp_path / name).chmod(0o644)
    credentials(tmp_path, {})
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_those_of_the_environment_win_and_are_not_kept(tmp_path: Path) -> None:
    given = credentials(tmp_path, {"ADMIN_TOKEN": "first, second", "KEY_PEPPERS": "7:pepper"})
    assert (given.admin_tokens, given.key_peppers) == ("first, second", "7:pepper")
    assert given.admin_token == "first"
    assert list(tmp_path.iterdir()) == []


def test_the_api_accepts_what_was_made(tmp_path: Path) -> None:
    made = credentials(tmp_path, {})
    ApiSettings.from_environment(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
            "DATABASE_URL": "postgresql://",
            "ADMIN_TOKEN": made.admin_tokens,
            "KEY_PEPPERS": made.key_peppers,
        }
    )


def test_they_are_not_shown_by_accident(tmp_path: Path) -> None:
    made = credentials(tmp_path, {})
    assert made.admin_token not in repr(made)
    assert made.key_peppers not in repr(made)


@pytest.mark.parametrize("name", ["admin_token", "key_peppers"])
@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_damaged_file_is_told_and_never_replaced(tmp_path: Path, name: str, content: bytes) -> None:
    """Other peppers in their place would send every key through bcrypt; the owner decides."""
    credentials(tmp_path, {})
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFolderUnusable, match=f"{name} is damaged"):
        credentials(tmp_path, {})
    assert (tmp_path / name).read_bytes() == content
