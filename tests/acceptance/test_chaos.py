"""Everything at once, for a while: what was acknowledged is what counts, passes and is billed in the end.

`make chaos SECONDS=600 SEED=7` runs it for longer; the seed says what is done, the machine when.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]

from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.chaos import (
    Auditor,
    Caller,
    Emitter,
    Fate,
    Holder,
    Truth,
    Vandal,
    live,
    verify,
)
from tests.acceptance.fresh_stack import fresh_stack
from tests.acceptance.stack import ApiNode, Stack

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED", "11"))
SETTLED_SECONDS = 120.0

COUNTED = "SELECT key_id::text, sum(requests), sum(predictions) FROM projector.usage_hour GROUP BY key_id"
BILLED = "SELECT key_id::text, sum(requests), sum(predictions) FROM billing.hour GROUP BY key_id"
USE_ID = re.compile(rb"chaos-use-\d+")

pytestmark = pytest.mark.timeout(int(SECONDS) + 600)

#: Requests and predictions, by key.
Sums = dict[str, tuple[int, int]]


@pytest.fixture
def shaken(shaken_kafka: EmbeddedKafka, shaken_postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Stack]:
    """A stack on servers that may be stopped; they run again afterwards."""
    with fresh_stack(shaken_kafka, shaken_postgres, tmp_path) as stack:
        try:
            yield stack
        finally:
            stack.kill()
            for server in (shaken_kafka, shaken_postgres):
                server.start()
                server.wait_ready()


def test_what_was_acknowledged_is_what_counts(
    shaken: Stack, shaken_kafka: EmbeddedKafka, shaken_postgres: EmbeddedPostgres
) -> None:
    first, second = shaken.api(workers=2), shaken.api()
    keepers = [shaken.projector(), shaken.projector(), shaken.windows(), shaken.billing()]
    truth = Truth(shaken, SEED, SECONDS)
    inhabitants = [
        Holder(truth, "holder of first", first),
        Holder(truth, "holder of second", second),
        Caller(truth, "caller of first", first),
        Caller(truth, "caller of second", second),
        Emitter(truth, "emitter"),
        Emitter(truth, "other emitter"),
        Vandal(truth, "vandal"),
        Auditor(truth, "auditor"),
        Fate(truth, "fate", [first, second, *keepers], [shaken_kafka, shaken_postgres]),
    ]
    live(inhabitants, truth)
    assert not truth.problems, [*truth.problems, *truth.happened]

    told = f"seed {SEED}: {truth.happened}, audits {truth.audits}"

    for query in (COUNTED, BILLED):
        _settles(lambda: _wrong_sums(shaken, truth, query), told)  # noqa: B023
    for node in (first, second):
        _settles(lambda: _wrong_verdicts(node, truth), told)  # noqa: B023
    code, said = verify(shaken)
    assert code == 0, said
    assert len(truth.acknowledged) > SECONDS
    assert truth.happened


def _settles(wrong: Callable[[], dict[str, Any]], told: str) -> None:
    """Wait until nothing is wrong."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while found := wrong():
        assert time.monotonic() < deadline, f"{found} after {told}"
        time.sleep(0.5)


def _wrong_sums(stack: Stack, truth: Truth, query: str) -> dict[str, Any]:
    """By key what is found and what the log has, where they differ."""
    # Asked each time: what nobody acknowledged may still arrive.
    in_the_log = asyncio.run(_use_ids(stack))
    assert truth.acknowledged <= in_the_log
    found, wanted = _rows(stack, query), _sums(truth, in_the_log)
    return {
        key_id: (found.get(key_id), wanted.get(key_id))
        for key_id in found | wanted
        if found.get(key_id) != wanted.get(key_id)
    }


def _sums(truth: Truth, event_ids: set[str]) -> Sums:
    requests: Counter[str] = Counter()
    predictions: Counter[str] = Counter()
    for event_id in event_ids:
        use = truth.tried[event_id].data
        requests[use.key_id] += 1
        predictions[use.key_id] += use.predictions_count
    return {key_id: (requests[key_id], predictions[key_id]) for key_id in requests}


async def _use_ids(stack: Stack) -> set[str]:
    """Those that the log has, whatever form their records have."""
    topic = stack.topics.usage
    places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
    found: set[str] = set()
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning()
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    content = b" ".join([record.value or b"", *(value for _, value in record.headers)])
                    found |= {match.decode() for match in USE_ID.findall(content[:100_000])}
    finally:
        await consumer.stop()
    return found


def _rows(stack: Stack, query: str) -> Sums:
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute(query.encode()).fetchall()
    return {key_id: (int(requests), int(predictions)) for key_id, requests, predictions in rows}


def _wrong_verdicts(node: ApiNode, truth: Truth) -> dict[str, int]:
    """Keys that are judged otherwise than was promised, and the status of the answer."""
    wrong = {}
    for key_id, passes in truth.passes.items():
        if passes is not None:
            status = node.client.validate(truth.secrets[key_id]).status_code
            if status != (200 if passes else 401):
                wrong[key_id] = status
    return wrong
