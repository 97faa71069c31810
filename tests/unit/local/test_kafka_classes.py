from __future__ import annotations

from pathlib import Path

import pytest

from services.local.errors import StartFailed
from services.local.kafka_classes import class_options, noted_classes


def test_classes_are_noted_once_and_then_used(tmp_path: Path) -> None:
    asked: list[Path] = []

    def note(draft: Path) -> None:
        asked.append(draft)
        assert not noted_classes(tmp_path).exists()
        draft.write_text("classes")

    first, second = (class_options(tmp_path, note) for _ in range(2))
    assert len(asked) == 1
    assert first == second
    assert first[0] == f"-XX:AOTCache={noted_classes(tmp_path)}"
    assert noted_classes(tmp_path).read_text() == "classes"


def test_a_java_that_notes_nothing_is_asked_once_and_does_without(tmp_path: Path) -> None:
    asked: list[Path] = []
    assert [*class_options(tmp_path, asked.append), *class_options(tmp_path, asked.append)] == []
    assert len(asked) == 1


@pytest.mark.parametrize("failure", [PermissionError("read-only"), StartFailed("not ready in time")])
def test_where_nothing_can_be_noted_a_broker_does_without(tmp_path: Path, failure: Exception) -> None:
    def note(draft: Path) -> None:
        raise failure

    assert class_options(tmp_path, note) == []
    assert not noted_classes(tmp_path).exists()


def test_notes_that_were_cut_short_are_never_used(tmp_path: Path) -> None:
    def note(draft: Path) -> None:
        draft.write_text("half of the cl")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_options(tmp_path, note)
    assert not noted_classes(tmp_path).exists()
    [option, _] = class_options(tmp_path, _note_anew)
    assert option.endswith(noted_classes(tmp_path).name)
    assert noted_classes(tmp_path).read_text() == "whole"


def _note_anew(draft: Path) -> None:
    assert not draft.exists()
    draft.write_text("whole")
