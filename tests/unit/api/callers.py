"""What callers of the api send, and what they look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from services.api.verdict import Verdict

KEYS = "/api/v1/keys"
VALIDATE = "/api/v1/keys/validate"
MINIMAL = {"name": "ci", "service_id": "platform"}

UNKNOWN_ID = "0197f3a0-0000-7000-8000-00000000dead"
MALFORMED_IDS = ["none", "1", "hk_live_" + "a" * 32, "0197f3a0-0000-7000-8000", "%00", "%ff", "x" * 3000]


async def created(admin: httpx.AsyncClient, **settings: Any) -> dict[str, Any]:
    """The answer to the creation of a key with these settings."""
    answer = await admin.post(KEYS, json={**MINIMAL, **settings})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


@dataclass(frozen=True, slots=True)
class Issued:
    secret: str
    key_id: str


async def a_key(admin: httpx.AsyncClient, **settings: Any) -> Issued:
    """A key that passes, created with these settings."""
    body = await created(admin, **settings)
    return Issued(body["api_key"], body["key_id"])


def bearer(key: Issued | str) -> dict[str, str]:
    """The header that carries the key."""
    return {"Authorization": f"Bearer {key.secret if isinstance(key, Issued) else key}"}


def refused(answer: httpx.Response, verdict: Verdict) -> bool:
    """Whether a validation was answered by this refusal, to the byte."""
    return answer.status_code == 401 and answer.content == verdict.body()


async def passes(client: httpx.AsyncClient, secret: str) -> bool:
    return (await client.post(VALIDATE, headers={"Authorization": f"Bearer {secret}"})).status_code == 200
