from __future__ import annotations

from pathlib import Path

import pytest

from services.local.errors import PackagesUnreachable
from services.local.kafka_jars import jars_folder, kafka_jars
from services.local.ports import free_ports


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    [nobody] = free_ports(1)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{nobody}")
    for name in ("https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_cached_needs_no_network(tmp_path: Path) -> None:
    jars_folder(tmp_path).mkdir()
    assert kafka_jars(tmp_path) == jars_folder(tmp_path)


def test_an_unreachable_registry_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PackagesUnreachable) as refusal:
        kafka_jars(tmp_path)
    assert str(refusal.value).endswith("after that no network is needed")
    assert "\n" not in str(refusal.value)
    assert not jars_folder(tmp_path).exists()


def test_a_cache_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PackagesUnreachable, match=r"FileExistsError|NotADirectoryError"):
        kafka_jars(tmp_path / "file")
