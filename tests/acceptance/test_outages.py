"""Postgres or Kafka away: what needs them says so in time, everything else goes on, and both come back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.eventually import eventually
from tests.acceptance.fresh_stack import fresh_stack
from tests.acceptance.stack import Stack
from tests.acceptance.the_log import postgres_agrees

#: Within five seconds, and what a busy machine may add to that.
ANSWER_SECONDS = 5.5
BACK_SECONDS = 20.0
STOP_SECONDS = 10.0


@pytest.fixture
def fragile(
    shaken_kafka: EmbeddedKafka, shaken_postgres: EmbeddedPostgres, tmp_path: Path
) -> Iterator[Stack]:
    """A stack on servers that the test may stop; they run again afterwards."""
    with fresh_stack(shaken_kafka, shaken_postgres, tmp_path) as stack:
        yield stack
        stack.kill()
        for server in (shaken_kafka, shaken_postgres):
            server.start()
            server.wait_ready()


def test_without_postgres_keys_live_and_only_admin_lists_wait(
    fragile: Stack, shaken_postgres: EmbeddedPostgres
) -> None:
    fragile.projector()
    node = fragile.api()
    client = node.client
    old = client.new_key()
    assert client.look_up(old.key_id).status_code == 200
    shaken_postgres.kill()

    assert client.accepts(old.api_key)
    new = client.new_key()
    assert client.accepts(new.api_key)
    rotated = client.rotated(old.key_id)
    assert (client.accepts(old.api_key), client.accepts(rotated.api_key)) == (False, True)
    for answer in (in_time(client.list), in_time(lambda: client.look_up(new.key_id))):
        assert answer.status_code == 503
        assert answer.headers["retry-after"].isdigit()
    assert client.get("/health").status_code == 200
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["checks"]["database"]) == (503, False)

    shaken_postgres.start()
    shaken_postgres.wait_ready()
    listed = eventually(lambda: succeeded(client.list()), BACK_SECONDS, "the list")
    assert {key["key_id"] for key in listed.json()} == {old.key_id, new.key_id, rotated.key_id}
    postgres_agrees(fragile)
    eventually(lambda: succeeded(client.get("/ready")), BACK_SECONDS, "readiness")


def test_without_kafka_keys_validate_and_changes_are_answered_in_time(
    fragile: Stack, shaken_kafka: EmbeddedKafka
) -> None:
    fragile.projector()
    node, other = fragile.api(), fragile.api(workers=2)
    client = node.client
    kept, unlucky = client.new_key(), client.new_key()
    eventually(lambda: other.client.accepts(unlucky.api_key), BACK_SECONDS, "the other node")
    shaken_kafka.kill()

    assert client.accepts(kept.api_key)
    refused = all_in_time(
        *[client.create, other.client.create] * 5,
        lambda: client.rotate(unlucky.key_id),
        lambda: client.revoke(unlucky.key_id),
    )
    for answer in refused:
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"].isdigit()
        assert answer.json()["key_id"]
    assert client.accepts(kept.api_key)
    assert other.client.accepts(kept.api_key)
    assert client.get("/ready").json()["checks"]["kafka"] is False
    assert client.get("/health").status_code == 200

    shaken_kafka.start()
    shaken_kafka.wait_ready()
    late = eventually(lambda: succeeded(client.create()), BACK_SECONDS, "a create").json()
    assert client.accepts(late["api_key"])
    eventually(lambda: other.client.accepts(late["api_key"]), BACK_SECONDS, "the other node")
    assert succeeded(other.client.create())
    postgres_agrees(fragile)
    # What was answered 503 may have taken effect or not: every reader says the same of it.
    eventually(
        lambda: client.accepts(unlucky.api_key) == other.client.accepts(unlucky.api_key),
        BACK_SECONDS,
        "both nodes to agree",
    )


def test_what_is_answered_503_may_still_take_effect(fragile: Stack, shaken_kafka: EmbeddedKafka) -> None:
    """A paused broker has the record in its socket: it is appended when the broker goes on."""
    fragile.projector()
    node = fragile.api()
    client = node.client
    old = client.new_key()
    shaken_kafka.pause()
    try:
        created, rotated = all_in_time(client.create, lambda: client.rotate(old.key_id))
    finally:
        shaken_kafka.resume()
    assert [created.status_code, rotated.status_code] == [503, 503]
    named = [created.json()["key_id"], rotated.json()["key_id"]]
    eventually(
        lambda: all(client.look_up(key_id).status_code == 200 for key_id in named),
        BACK_SECONDS,
        "the keys that were named",
    )
    assert not client.accepts(old.api_key)
    assert client.rotate(old.key_id).status_code == 409
    assert client.accepts(client.rotated(named[1]).api_key)
    postgres_agrees(fragile)


def test_services_wait_for_what_is_away_and_say_for_what(
    fragile: Stack, shaken_kafka: EmbeddedKafka, shaken_postgres: EmbeddedPostgres
) -> None:
    shaken_kafka.kill()
    shaken_postgres.kill()
    projector, node = fragile.projector(wait=False), fragile.api(wait=False)
    node.says(f"waiting for Kafka at {shaken_kafka.bootstrap_servers}")
    projector.says("waiting for ")

    shaken_kafka.start()
    node.wait_ready()
    key = node.client.new_key()
    assert node.client.accepts(key.api_key)
    projector.says("waiting for Postgres")
    assert projector.is_running

    shaken_postgres.start()
    eventually(lambda: succeeded(node.client.look_up(key.key_id)), BACK_SECONDS, "the projection")
    projector.wait_ready()


def test_a_node_that_waits_for_kafka_ends_when_it_is_told_to(
    fragile: Stack, shaken_kafka: EmbeddedKafka
) -> None:
    node = fragile.api(workers=2)
    key = node.client.new_key()
    shaken_kafka.kill()
    starting = fragile.api(wait=False)
    # A follower that is started anew waits too; the workers go on answering.
    node.follower_process().kill()
    node.worker_processes()[0].kill()
    for service in (node, starting):
        service.says(f"waiting for Kafka at {shaken_kafka.bootstrap_servers}")
    assert node.client.accepts(key.api_key)

    began = time.monotonic()
    for service in (node, starting):
        service.terminate()
    for service in (node, starting):
        assert service.wait_exit() == 0, service.log_of_this_run()
    assert time.monotonic() - began < STOP_SECONDS


def test_out_of_touch_for_too_long_nothing_passes(fragile: Stack, shaken_kafka: EmbeddedKafka) -> None:
    """A revocation might have been missed: past MAX_STALENESS_SECONDS a worker answers 503, never 200."""
    node = fragile.api(MAX_STALENESS_SECONDS="3")
    client = node.client
    key = client.new_key()
    assert node.metric("hokusai_api_staleness_seconds") < 3
    shaken_kafka.pause()
    try:
        eventually(lambda: node.metric("hokusai_api_staleness_seconds") > 1.5, 10, "staleness to rise")
        assert client.accepts(key.api_key)
        answer = eventually(lambda: unavailable(client.validate(key.api_key)), 10, "a refusal")
        assert answer.headers["retry-after"].isdigit()
        assert unavailable(client.validate("hk_live_" + "x" * 32))
        assert unavailable(client.get("/health"))
        assert node.metric("hokusai_api_staleness_seconds") > 3
    finally:
        shaken_kafka.resume()
    eventually(lambda: succeeded(client.validate(key.api_key)), BACK_SECONDS, "validation to come back")
    assert client.get("/health").status_code == 200
    assert node.metric("hokusai_api_staleness_seconds") < 3


def succeeded(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.is_success else None


def unavailable(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 503 else None


def in_time(call: Callable[[], httpx.Response]) -> httpx.Response:
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < ANSWER_SECONDS
    return answer


def all_in_time(*calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """All at once."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(in_time, calls))
