"""What an api has counted of a key, as its callers and other nodes see it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from events.log import Record
from events.memory_log import MemoryLog
from events.totals import HOUR_SECONDS, WindowCount
from tests.unit.api.callers import VALIDATE, Issued, a_key, bearer
from tests.unit.api.running import NOW, Surroundings
from tests.window_fakes import append_count, counts_in

HOUR = int(NOW.timestamp() // HOUR_SECONDS)


async def issued(api: Surroundings, limit: int) -> Issued:
    async with api.client() as admin:
        return await a_key(admin, rate_limit_per_hour=limit)


async def two_are_counted_elsewhere_after(
    failures: list[Exception], api: Surroundings, key: Issued, log: MemoryLog
) -> None:
    """Reading the counters fails like this at first; then both counts are heard of."""
    read = api.counters.read

    async def fail_at_first(max_records: int = 5000, timeout_seconds: float = 1.0) -> Sequence[Record]:
        if failures:
            raise failures.pop()
        return await read(max_records, timeout_seconds)

    api.counters.read = fail_at_first  # type: ignore[method-assign]
    for count in (1, 2):
        await append_count(log, a_count(key, count, "elsewhere"))
    async with asyncio.timeout(5):
        while await left(api, key) > 8:
            await asyncio.sleep(0.01)


async def statuses(api: Surroundings, key: Issued, count: int) -> list[int]:
    async with api.client(admin=False) as anyone:
        return [(await anyone.post(VALIDATE, headers=bearer(key))).status_code for _ in range(count)]


async def published(log: MemoryLog, key: Issued) -> int:
    """All that nodes have published, each by its highest count; the key was never rotated."""
    highest: dict[str, int] = {}
    for counter in await counts_in(log):
        if counter.lineage_id == key.key_id:
            highest[counter.node_id] = max(counter.count, highest.get(counter.node_id, 0))
    return sum(highest.values())


async def left(api: Surroundings, key: Issued) -> int:
    """What another service would be told, without asking for it."""
    async with api.client(admin=False) as anyone:
        answer = await anyone.post(VALIDATE, headers=bearer(key), json={"service_id": "another"})
    return int(answer.headers["ratelimit-remaining"])


def a_count(
    key: Issued, count: int, node_id: str, kind: str = "validations", hour: int = HOUR
) -> WindowCount:
    return WindowCount.model_validate(
        {"node_id": node_id, "kind": kind, "lineage_id": key.key_id, "hour": hour, "count": count}
    )
