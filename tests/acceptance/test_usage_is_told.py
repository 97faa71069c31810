"""Use that was reported to any node is told by stats, aggregate and billing alike, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from services.local.kafka import EmbeddedKafka
from tests.acceptance.client import ApiClient
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import Stack

TOLD_SECONDS = 15.0
#: Within five seconds, and what a busy machine may add to that.
ANSWER_SECONDS = 5.5


def test_all_answers_tell_the_same_of_a_lineage_whichever_node_was_told(stack: Stack) -> None:
    stack.projector()
    stack.billing()
    here, there = stack.api(workers=2).client, stack.api().client
    old = here.new_key(monthly_prediction_limit=10)
    # There the key is a moment old: it is known, if need be after a moment.
    taken(there.report(old.key_id, "first", response_time_ms=1.5, predictions_count=10))
    taken(here.report(old.key_id, "first", response_time_ms=1.5, predictions_count=10))
    taken(here.debit(old.key_id, f"{old.key_id}-1"))
    taken(there.debit(old.key_id, f"{old.key_id}-1"))
    new = here.rotated(old.key_id)
    taken(there.report(new.key_id, status_code=503, compute_ms=0.25, predictions_count=4, endpoint="/b"))
    here.revoke(new.key_id)
    taken(here.report(new.key_id, compute_ms=0.5, service_id="hokusai-registry"))

    expected = {"requests": 4, "predictions": 15, "compute_ms": 0.75}
    for client in (here, there):
        for key in (old, new):
            tells(of_stats, client, key.key_id, expected=expected)
            tells(of_billing, client, key.key_id, expected=expected)
        tells(of_days, client, expected=expected)
    stats = here.stats(old.key_id).json()
    assert (stats["error_rate"], stats["average_response_time_ms"]) == (0.25, 0.375)
    assert stats["top_endpoints"] == [{"endpoint": "/predict", "count": 3}, {"endpoint": "/b", "count": 1}]
    assert here.billing(new.key_id).json()["overage_charges"] == 0.005
    assert here.look_up(new.key_id).json()["last_used_at"] is not None
    assert of_days(here, service_id="hokusai-registry")["requests"] == 1
    assert here.report("0197f3a0-0000-7000-8000-00000000dead").status_code == 404


def test_a_use_is_taken_once_the_log_has_it_and_not_before(
    fragile: Stack, shaken_kafka: EmbeddedKafka
) -> None:
    fragile.projector()
    client = fragile.api().client
    key_id = client.new_key().key_id
    taken(client.report(key_id))
    tells(of_stats, client, key_id, expected={"requests": 1, "predictions": 0, "compute_ms": 0})
    shaken_kafka.kill()
    began = time.monotonic()

    answer = client.report(key_id, predictions_count=7)

    assert time.monotonic() - began < ANSWER_SECONDS
    assert (answer.status_code, answer.headers["retry-after"].isdigit()) == (503, True)
    assert client.report("none").status_code == 404
    assert of_stats(client, key_id)["requests"] == 1
    assert client.aggregate().status_code == 200
    shaken_kafka.start()
    shaken_kafka.wait_ready()
    again = answer.json()["idempotency_key"]
    eventually(
        lambda: client.report(key_id, again, predictions_count=7).status_code == 200, TOLD_SECONDS, "the log"
    )
    taken(client.report(key_id))
    tells(of_stats, client, key_id, expected={"requests": 3, "predictions": 7, "compute_ms": 0})


def taken(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()) == (200, {"message": "Usage recorded successfully"})


def tells(ask: Callable[..., dict[str, float]], *about: Any, expected: Mapping[str, float]) -> None:
    """Wait until the answer is what is expected; until the pictures are filled there is none."""
    told: list[object] = [None]

    def fits() -> bool:
        try:
            told.append(ask(*about))
        except httpx.HTTPStatusError as error:
            told.append(error.response.text)
        return told[-1] == expected

    try:
        eventually(fits, TOLD_SECONDS, f"{expected}")
    except AssertionError as late:
        raise AssertionError(f"{late}; told {told[-1]}") from None


def of_stats(client: ApiClient, key_id: str) -> dict[str, float]:
    stats = client.stats(key_id).raise_for_status().json()
    return {name: stats[f"total_{name}"] for name in ("requests", "predictions", "compute_ms")}


def of_billing(client: ApiClient, key_id: str) -> dict[str, float]:
    usage: dict[str, float] = client.billing(key_id).raise_for_status().json()["current_usage"]
    return usage


def of_days(client: ApiClient, **parameters: str) -> dict[str, float]:
    """All days and services together."""
    days = client.aggregate(**parameters).raise_for_status().json()["usage_by_date"]
    found = [sums for services in days.values() for sums in services.values()]
    return {name: sum(one[name] for one in found) for name in ("requests", "predictions", "compute_ms")}
