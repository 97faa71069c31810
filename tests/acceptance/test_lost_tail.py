"""A revocation is lost with the tail of its partition: its key passes nowhere, before repair and after."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]

from events.keys import KeyCreated
from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.eventually import eventually
from tests.acceptance.fresh_stack import fresh_stack
from tests.acceptance.stack import Stack
from tests.acceptance.the_log import append_event, postgres_agrees, records
from tests.builders import a_key_created
from tests.conftest import IN_CONTAINERS
from tests.integration.events.kafka_surgery import lost_tails

pytestmark = [
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
    pytest.mark.timeout(240),
]

FAILED, REFUSED = 1, 2


@pytest.fixture
def breakable(own_kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Stack]:
    with fresh_stack(own_kafka, postgres, tmp_path) as stack:
        yield stack


def test_a_key_whose_revocation_was_lost_never_passes_again(
    breakable: Stack, own_kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """The api is stopped while the log loses it and grows again, so that it would read straight on."""
    lifecycle = breakable.topics.lifecycle
    projector = breakable.projector(LOG_CHECK_SECONDS="0.5")
    api = breakable.api()
    key = api.client.new_key()
    api.client.revoke(key.key_id)
    partition = records(breakable, lifecycle)[0].partition
    postgres_agrees(breakable)
    api.pause()
    with lost_tails(own_kafka, tmp_path, {(lifecycle.name, partition): 1}):
        pass
    for _ in range(3):
        append_event(breakable, a_key_of(partition))
    api.resume()
    assert api.wait_exit() == FAILED, api.log_of_this_run()
    assert "has lost records" in api.log_of_this_run()
    projector.says("has lost records")
    again = breakable.api(wait=False)
    assert again.wait_exit() == REFUSED, again.log_of_this_run()
    assert f"{lifecycle.name}/{partition} has lost records" in again.last_words()

    place = ["--topic", lifecycle.name, "--partition", str(partition)]
    accept_loss(breakable, *place, "--actor", "alice", "--reason", "disk", "--yes")
    eventually(projector.is_ready, 30, "the projector to go on")
    mended = breakable.api()
    assert not mended.client.accepts(key.api_key)
    postgres_agrees(breakable)


def a_key_of(partition: int) -> KeyCreated:
    while True:
        created = a_key_created()
        if (murmur2(created.partitionkey.encode()) & 0x7FFFFFFF) % 12 == partition:
            return created


def accept_loss(stack: Stack, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "log", "accept-loss", *arguments],
        env={**os.environ, **stack.settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
