"""A node is who its folder says."""

from __future__ import annotations

import fcntl
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from services.api.limits.node_id import node_id


def test_it_is_the_same_for_all_processes_and_after_a_restart(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        ids = set(threads.map(node_id, [tmp_path] * 100))

    assert len(ids) == 1
    assert len(ids.pop()) == 32
    assert [path.name for path in tmp_path.iterdir()] == ["node_id"]
    assert (tmp_path / "node_id").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_was_lost_makes_a_new_node(tmp_path: Path) -> None:
    """What the old one has published still counts, beside what the new one counts from 0."""
    folder = tmp_path / "node"
    before = node_id(folder)
    shutil.rmtree(folder)

    assert node_id(folder) != before


def test_of_processes_that_start_at_once_the_first_decides(tmp_path: Path) -> None:
    with (tmp_path / "node_id").open("w+") as file, ThreadPoolExecutor() as threads:
        fcntl.flock(file, fcntl.LOCK_EX)
        late = threads.submit(node_id, tmp_path)
        assert not wait([late], timeout=0.1).done
        file.write("0" * 32)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_UN)

        assert late.result(5) == "0" * 32


@pytest.mark.parametrize("content", ["", "half of an i"])
def test_what_is_no_id_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "node_id").write_text(content)

    assert len(node_id(tmp_path)) == 32
    assert node_id(tmp_path) == node_id(tmp_path)
