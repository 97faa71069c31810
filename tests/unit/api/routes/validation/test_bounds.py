"""What validation costs, and what it leaves to the other routes."""

from __future__ import annotations

import httpx
import pytest

from services.api.verdict import Verdict
from tests.unit.api.callers import VALIDATE, bearer, refused
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio


async def test_a_flood_of_bad_keys_costs_no_bcrypt_no_record_and_no_query(
    api: Surroundings, anyone: httpx.AsyncClient
) -> None:
    api.read_models.is_away = True
    appended = api.appends.attempts
    for number in range(300):
        answer = await anyone.post(VALIDATE, headers=bearer(f"hk_live_{number:032d}"))
        assert refused(answer, Verdict.UNKNOWN)

    text = (await anyone.get("/metrics")).text
    assert 'hokusai_api_validations_total{verdict="unknown"} 300.0' in text
    assert "hokusai_api_bcrypt_checks_total 0.0" in text
    assert api.appends.attempts == appended


@pytest.mark.parametrize("path", [VALIDATE + "x", "/api/v1/validate", "/validate", "/api/v1/keys", "/"])
async def test_other_paths_are_none_of_its_business(anyone: httpx.AsyncClient, path: str) -> None:
    assert not refused(await anyone.post(path), Verdict.NOT_SERVED)
    assert not refused(await anyone.get(path), Verdict.NOT_SERVED)
