from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.local.files import whole_folder, write_whole


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a much longer text than the new one")
    write_whole(path, "new", 0o600)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_it_is_filled(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "folder") as draft:
        (draft / "file").touch()
        assert not (tmp_path / "folder").exists()
    assert (tmp_path / "folder" / "file").exists()


def test_a_half_filled_folder_never_appears_and_the_next_try_starts_afresh(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "folder") as draft:
        (draft / "file").write_bytes((tmp_path / "missing").read_bytes())
    assert not (tmp_path / "folder").exists()
    with whole_folder(tmp_path / "folder"):
        pass
    assert list((tmp_path / "folder").iterdir()) == []
