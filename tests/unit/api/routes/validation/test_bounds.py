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
    for number in range(300):
        answer = await anyone.post(VALIDATE, headers=bearer(f"hk_live_{number:032d}"))
        assert refused(answer, Verdict.UNKNOWN)

    text = (await anyone.get("/metrics")).text
    assert 'hokusai_api_validations_total{verdict="unknown"} 300.0' in text
    assert "hokusai_api_bcrypt_checks_total 0.0" in text
    assert api.appends.attempts == 0


async def test_other_methods_and_paths_are_none_of_its_business(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.get(VALIDATE)).status_code == 401
    assert (await anyone.put(VALIDATE)).status_code == 405
    assert (await anyone.post(VALIDATE + "x")).status_code in (404, 405)
