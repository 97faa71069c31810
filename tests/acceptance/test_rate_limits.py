"""A limit holds for all workers of all nodes, and nothing that starts or stops refills it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from events.codec import decode_total
from events.totals import WindowCount
from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.client import Created
from tests.acceptance.eventually import eventually
from tests.acceptance.fresh_stack import fresh_stack
from tests.acceptance.stack import ApiNode, Keeper, Stack
from tests.acceptance.the_log import records
from tests.acceptance.validation_load import Answers, validate_steadily

LIMIT = 1000
RATE = 2000.0
REQUESTS = 4000
#: Five per cent of the limit; the workers of a node are far below it.
MOST_OVER = 50
#: What one node admits is known to the other through the log, within some 25 ms on a quiet machine.
PROPAGATION_SECONDS = 0.15
#: What a test may take; none of it may fall into two hours.
TEST_SECONDS = 25


class World:
    """A node of four workers, and both processes of the projector."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.projectors: list[Keeper] = [stack.projector(), stack.windows()]
        self.node: ApiNode = stack.api(workers=4)


@pytest.fixture(scope="module")
def world(
    kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with fresh_stack(kafka, postgres, tmp_path_factory.mktemp("rate-limits")) as stack:
        yield World(stack)


@pytest.fixture(autouse=True)
def _within_one_hour() -> None:
    """A limit is refilled at the next hour."""
    hour = int((time.time() + TEST_SECONDS) // 3600)
    eventually(lambda: time.time() // 3600 >= hour, TEST_SECONDS + 1, "the next hour")


def test_four_workers_share_a_limit(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    key = world.node.client.new_key(rate_limit_per_hour=LIMIT)

    answers = validate_steadily([world.node.url], key.api_key, REQUESTS, RATE)

    tell(capsys, f"four workers {sorted(node_counts(world.stack, key).values())}", answers)
    limit_holds(answers)
    assert len(node_counts(world.stack, key)) == 1
    log_knows(world.stack, key, answers)


def test_neither_a_dead_projector_nor_a_restart_refills_a_window(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    key = world.node.client.new_key(rate_limit_per_hour=LIMIT)

    def kill() -> None:
        for projector in world.projectors:
            projector.kill()

    answers = validate_steadily([world.node.url], key.api_key, REQUESTS // 4, RATE, halfway=kill)
    again = validate_steadily([world.node.url], key.api_key, REQUESTS // 2, RATE)

    tell(capsys, "four workers, both projectors killed", answers, again)
    limit_holds(answers, again)
    log_knows(world.stack, key, answers, again)
    # From a snapshot of Postgres that has missed most of it.
    late = world.stack.api().client.validate(key.api_key)
    assert (late.status_code, late.json()) == (429, {"detail": "Rate limit exceeded"})
    assert 0 < int(late.headers["retry-after"]) <= 3600
    assert late.headers["ratelimit-remaining"] == "0"


def test_a_restart_after_the_windows_process_was_away_refills_no_window(stack: Stack) -> None:
    """Postgres knows the first request only: the log has the others."""
    stack.projector()
    windows, node = stack.windows(), stack.api()
    key = node.client.new_key(rate_limit_per_hour=10)
    assert node.client.validate(key.api_key).headers["ratelimit-remaining"] == "9"
    eventually(lambda: written_counts(stack, key) == [1], 10, "the first request in Postgres")
    windows.kill()
    statuses = [node.client.validate(key.api_key).status_code for _ in range(10)]
    assert statuses == [200] * 9 + [429]

    node.stop()
    node.start()
    node.wait_ready()

    late = node.client.validate(key.api_key)
    assert (late.status_code, late.json()) == (429, {"detail": "Rate limit exceeded"})
    assert (late.headers["ratelimit-limit"], late.headers["ratelimit-remaining"]) == ("10", "0")
    assert written_counts(stack, key) == [1]


def test_two_nodes_share_a_limit(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [world.stack.api(), world.stack.api()]
    key = nodes[0].client.new_key(rate_limit_per_hour=LIMIT)
    eventually(lambda: all(node.client.accepts(key.api_key) for node in nodes), 5, "the key on both nodes")

    answers = validate_steadily([node.url for node in nodes], key.api_key, REQUESTS, RATE)

    tell(capsys, "two nodes", answers)
    limit_holds(answers, most_over=int(RATE / 2 * PROPAGATION_SECONDS))


def limit_holds(*answers: Answers, most_over: int = MOST_OVER) -> None:
    assert {status for one in answers for status in one.statuses} == {200, 429}
    assert LIMIT * 0.99 <= sum(one.admitted for one in answers) <= LIMIT + most_over


def log_knows(stack: Stack, key: Created, *answers: Answers) -> None:
    """Near the limit every admission is published at once."""
    admitted = sum(one.admitted for one in answers)
    eventually(lambda: sum(node_counts(stack, key).values()) == admitted, 5, f"{admitted} counts in the log")


def node_counts(stack: Stack, key: Created) -> dict[str, int]:
    """What each worker has published about a key that was never rotated."""
    counts: dict[str, int] = {}
    for record in records(stack, stack.topics.rate_counters):
        counter = decode_total(record.value)
        assert isinstance(counter, WindowCount)
        if counter.lineage_id == key.key_id:
            counts[counter.node_id] = max(counter.count, counts.get(counter.node_id, 0))
    return counts


def written_counts(stack: Stack, key: Created) -> list[int]:
    """What Postgres knows of a key that was never rotated: the count of each worker."""
    query = "SELECT count FROM projector.rate_windows WHERE lineage_id = %s"
    with psycopg.connect(stack.database_url) as connection:
        return [count for (count,) in connection.execute(query, [key.key_id]).fetchall()]


def tell(capsys: pytest.CaptureFixture[str], what: str, *answers: Answers) -> None:
    """What was measured belongs into the log of the test run."""
    admitted = sum(one.admitted for one in answers)
    rates = ", ".join(f"{one.rate:.0f}" for one in answers)
    with capsys.disabled():
        print(f"\n{what}: {admitted} of {LIMIT} admitted, {rates} requests/s")  # noqa: T201
