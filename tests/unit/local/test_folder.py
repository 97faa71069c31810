from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.local.errors import DataFolderInUse, DataFolderUnusable
from services.local.folder import data_folder


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with data_folder(tmp_path / "new" / "folder") as folder:
        assert folder.is_absolute()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_it_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    with (
        data_folder(tmp_path),
        pytest.raises(DataFolderInUse, match="another `hokusai-auth up` is using"),
        data_folder(tmp_path),
    ):
        pass
    with data_folder(tmp_path):
        pass


def test_a_file_in_its_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataFolderUnusable, match="file cannot be used: File exists"),
        data_folder(tmp_path / "file"),
    ):
        pass
