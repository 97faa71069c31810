"""A running api, and clients for it; stores are closed after every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.unit.api.running import Surroundings, running
from tests.unit.api.workers import close_stores


@pytest.fixture(autouse=True)
def _stores() -> Iterator[None]:
    yield
    close_stores()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Surroundings]:
    async with running(tmp_path / "node") as surroundings:
        yield surroundings


@pytest.fixture
async def admin(api: Surroundings) -> AsyncIterator[httpx.AsyncClient]:
    """Has the admin token."""
    async with api.client() as client:
        yield client


@pytest.fixture
async def anyone(api: Surroundings) -> AsyncIterator[httpx.AsyncClient]:
    """Has no token."""
    async with api.client(admin=False) as client:
        yield client
