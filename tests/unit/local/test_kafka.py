from __future__ import annotations

from pathlib import Path

import pytest

from services.local.kafka import EmbeddedKafka


def test_ports_are_chosen_once(tmp_path: Path) -> None:
    assert EmbeddedKafka(tmp_path).bootstrap_servers == EmbeddedKafka(tmp_path).bootstrap_servers


@pytest.mark.parametrize("content", ["", "5", '["x", "y"]', "[700000, 1]", "[1, 2, 3]"])
def test_a_damaged_memory_of_the_ports_is_made_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "ports.json").write_text(content)
    assert EmbeddedKafka(tmp_path).bootstrap_servers == EmbeddedKafka(tmp_path).bootstrap_servers
