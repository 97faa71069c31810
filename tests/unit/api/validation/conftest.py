"""What finds keys whose pepper is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.validation.desk import CountingHasher, Desk, a_desk


@pytest.fixture
def hasher() -> Iterator[CountingHasher]:
    hasher = CountingHasher()
    yield hasher
    hasher.go_on()
    hasher.close()


@pytest.fixture
async def desk(tmp_path: Path, hasher: CountingHasher) -> Desk:
    return await a_desk(tmp_path, hasher)
