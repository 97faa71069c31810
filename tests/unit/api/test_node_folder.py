"""A node has its folder alone, and leaves nothing in the folder for temporary files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from events.errors import SettingsError
from services.api.node_folder import opened_node_folder, run_folder

LONG_AGO = 1_000_000_000


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_of_one_run_is_gone_afterwards(temporary: Path) -> None:
    with opened_node_folder(None) as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        assert run_folder(folder).is_dir()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_node_left_is_removed_and_what_others_use_is_kept(temporary: Path) -> None:
    left, new = temporary / "hokusai-node-left", temporary / "hokusai-node-new"
    for folder in (left, new):
        folder.mkdir()
        (folder / "lock").touch()
    with opened_node_folder(None) as used:
        for folder in (left, used):
            os.utime(folder, (LONG_AGO, LONG_AGO))
        with opened_node_folder(None) as folder:
            assert set(temporary.iterdir()) == {used, folder, new}


def test_a_configured_folder_stays_and_its_run_begins_anew(tmp_path: Path) -> None:
    configured = tmp_path / "some" / "node"
    with opened_node_folder(configured) as folder:
        (folder / "kept").touch()
        (run_folder(folder) / "of this run").touch()
    with opened_node_folder(configured) as folder:
        assert (folder / "kept").exists()
        assert list(run_folder(folder).iterdir()) == []


def test_a_folder_that_another_node_has_is_refused(tmp_path: Path) -> None:
    with opened_node_folder(tmp_path), pytest.raises(SettingsError, match="another node is at work"):
        opened_node_folder(tmp_path).__enter__()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="NODE_FOLDER"):
        opened_node_folder(tmp_path / "file" / "node").__enter__()


def test_what_fails_within_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), opened_node_folder(tmp_path):
        raise BlockingIOError
