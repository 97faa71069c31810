"""Uses as services report them, and what the log has of them."""

from __future__ import annotations

from typing import Any

import httpx

from events.codec import decode
from events.memory_log import MemoryLog
from events.topics import Topics
from events.usage import KeyUsed

USAGE = "/api/v1/usage"
TOPICS = Topics.from_environment({})

#: Exactly what the platform's middleware posts after each reply.
MINIMAL = {
    "service_id": "platform",
    "endpoint": "/api/v1/models/30/predict",
    "status_code": 200,
    "response_time_ms": 12,
}


def debit(key_id: str, **changes: Any) -> dict[str, Any]:
    """Exactly what the platform's middleware posts before each request."""
    body = {
        "model_id": None,
        "endpoint": "/api/v1/models/30/predict",
        "response_time_ms": 0,
        "status_code": 0,
        "service_id": "platform",
        "idempotency_key": f"{key_id}-1772366400250",
        "compute_ms": 0,
        "predictions_count": 1,
    }
    return {**body, **changes}


async def report(client: httpx.AsyncClient, key_id: str, **changes: Any) -> None:
    """Report a use that is taken."""
    answer = await client.post(f"{USAGE}/{key_id}", json={**MINIMAL, **changes})
    assert answer.status_code == 200, answer.text


async def recorded(log: MemoryLog) -> list[KeyUsed]:
    """All uses in the log, in the order of each key; the record key is the key_id."""
    reader = log.reader(TOPICS.usage)
    await reader.begin({})
    events = []
    for record in await reader.read(timeout_seconds=0):
        event = decode(record.value)
        assert isinstance(event, KeyUsed)
        assert record.key == event.data.key_id.encode()
        events.append(event)
    return events
