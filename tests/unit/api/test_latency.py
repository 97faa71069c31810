"""How long answers take, by route."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.api import latency
from tests.unit.api.callers import KEYS, VALIDATE, a_key, bearer
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio

NAME = "hokusai_http_request_seconds"


@pytest.mark.parametrize(
    ("microseconds", "bucket"),
    [(0, 0), (63, 0), (64, 1), (127, 1), (128, 2), (1_000_000, 14), (10**9, latency.BUCKETS - 1)],
)
def test_the_bucket_of_a_time_is_the_one_that_holds_it(microseconds: int, bucket: int) -> None:
    assert latency.bucket_of(microseconds) == bucket


def test_bounds_double_and_the_last_holds_everything() -> None:
    bounds = [bound for bound, _ in latency.cumulative([1] * latency.BUCKETS)]
    assert bounds[:3] == ["6.4e-05", "0.000128", "0.000256"]
    assert bounds[-1] == "+Inf"
    assert [count for _, count in latency.cumulative([1] * latency.BUCKETS)] == list(
        range(1, latency.BUCKETS + 1)
    )


async def samples(api: Surroundings) -> dict[tuple[str, ...], float]:
    text = api.exposition().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_each_route_is_timed_by_its_template(
    api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    key = await a_key(admin)
    await anyone.post(VALIDATE, headers=bearer(key))
    await anyone.post(VALIDATE, headers=bearer("garbage"))
    await admin.get(f"{KEYS}/{key.key_id}")
    await admin.get(f"{KEYS}/none")
    await admin.post(KEYS, json={})
    await anyone.get("/nowhere")

    found = await samples(api)
    assert found[f"{NAME}_count", "POST", VALIDATE] == 2
    assert found[f"{NAME}_count", "GET", KEYS + "/{key_id}"] == 2
    assert found[f"{NAME}_count", "POST", KEYS] == 2
    assert found[f"{NAME}_count", "", "other"] == 1
    assert found[f"{NAME}_sum", "POST", KEYS] > 0


async def test_workers_show_what_the_system_gives_them(api: Surroundings) -> None:
    found = await samples(api)
    processes = {name: value for (name, *_), value in found.items() if name.startswith("hokusai_process_")}
    assert processes["hokusai_process_resident_memory_bytes"] > 10_000_000
    assert processes["hokusai_process_open_fds"] > 3
    assert processes["hokusai_process_cpu_seconds_total"] > 0
