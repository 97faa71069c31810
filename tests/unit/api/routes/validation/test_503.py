"""POST /api/v1/keys/validate: not now."""

from __future__ import annotations

from pathlib import Path

import bcrypt
import httpx
import pytest

from services.api.verdict import Verdict
from tests.builders import a_key_created
from tests.pepper_fakes import declare
from tests.unit.api.callers import VALIDATE, a_key, bearer
from tests.unit.api.running import Surroundings, running
from tests.unit.api.workers import append

pytestmark = pytest.mark.anyio


class Test503:
    async def test_out_of_touch_with_the_log_for_too_long(self, tmp_path: Path) -> None:
        async with running(tmp_path, is_stale=True) as api, api.client() as admin:
            key = await a_key(admin)
            for headers in (bearer(key), bearer("garbage")):
                answer = await admin.post(VALIDATE, headers=headers)

                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.content == Verdict.STALE.body()

    async def test_too_many_tries_for_a_key_that_only_bcrypt_can_verify(
        self, api: Surroundings, anyone: httpx.AsyncClient
    ) -> None:
        secret = "hk_live_AbC" + "x" * 29
        await declare(api.log, "retired")
        bcrypt_hash = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()
        await append(
            api.log,
            a_key_created(pepper_id="retired", key_prefix="hk_live_AbC***", bcrypt_hash=bcrypt_hash),
        )
        await api.caught_up()

        for number in range(9):
            answer = await anyone.post(VALIDATE, headers=bearer(f"hk_live_AbC{number:029d}"))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.content == Verdict.UNDECIDED.body()

        api.time.pass_by(60)
        assert (await anyone.post(VALIDATE, headers=bearer(secret))).status_code == 200
