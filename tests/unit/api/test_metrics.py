"""One `/metrics` for all workers of a node."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from events.clock import Clock
from services.api.directory.freshness import Freshness
from services.api.metrics import COUNTERS, Metrics, NodeCollector, exposition
from services.api.node import Node, Seat
from services.api.verdict import Verdict
from tests.fakes import ManualTime


def a_worker(folder: Path) -> tuple[Metrics, Node, Seat]:
    metrics, node = Metrics(), Node(folder, COUNTERS)
    seat = node.enter()
    metrics.sit(seat)
    metrics.answering()
    return metrics, node, seat


def samples(node: Node, folder: Path, clock: Clock | None = None) -> dict[str, float]:
    """From `name{label=value,...}` to the number, as a scraper reads them."""
    text = exposition(node, Freshness(folder), clock or Clock()).decode()
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_are_summed_over_the_workers_whoever_is_asked(tmp_path: Path) -> None:
    one, node_of_one, _ = a_worker(tmp_path)
    two, node_of_two, _ = a_worker(tmp_path)

    one.validation(Verdict.VALID)
    two.validation(Verdict.VALID)
    two.validation(Verdict.UNKNOWN)

    for node in (node_of_one, node_of_two):
        found = samples(node, tmp_path)
        assert found["hokusai_api_validations_total{verdict=valid}"] == 2
        assert found["hokusai_api_validations_total{verdict=unknown}"] == 1
        assert found["hokusai_api_workers"] == 2


def test_a_worker_that_ends_and_starts_again_makes_no_counter_fall(tmp_path: Path) -> None:
    first, node, _ = a_worker(tmp_path)
    _, other, _ = a_worker(tmp_path)
    first.answer(200)
    first.directory(keys=7, parked=1, unverifiable=2)
    node.leave()

    assert samples(other, tmp_path)["hokusai_api_answers_total{status=2xx}"] == 1
    assert samples(other, tmp_path)["hokusai_api_keys"] == 0

    successor, node, _ = a_worker(tmp_path)
    successor.answer(204)

    found = samples(node, tmp_path)
    assert found["hokusai_api_answers_total{status=2xx}"] == 2
    assert found["hokusai_api_keys"] == 0
    assert found["hokusai_api_workers"] == 2


def test_a_worker_that_sits_and_still_waits_for_kafka_does_not_answer(tmp_path: Path) -> None:
    """Nor does one that takes the seat of a worker that answered."""
    _, other, _ = a_worker(tmp_path)
    _, node, _ = a_worker(tmp_path)
    node.leave()
    starting = Metrics()
    starting.sit(node.enter())

    assert samples(other, tmp_path)["hokusai_api_workers"] == 1

    starting.answering()
    assert samples(other, tmp_path)["hokusai_api_workers"] == 2


def test_what_is_counted_before_a_worker_sits_is_kept(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.applied()
    metrics.ignored()
    metrics.unreadable()
    metrics.bcrypt_check()
    metrics.directory(keys=3, parked=0, unverifiable=0)
    node = Node(tmp_path, COUNTERS)

    metrics.sit(node.enter())

    found = samples(node, tmp_path)
    for name in ("events_applied", "events_ignored", "records_unreadable", "bcrypt_checks"):
        assert found[f"hokusai_api_{name}_total"] == 1
    assert found["hokusai_api_keys"] == 3


def test_every_verdict_and_class_of_answer_has_a_counter_of_its_own(tmp_path: Path) -> None:
    metrics, node, _ = a_worker(tmp_path)
    for number, verdict in enumerate(Verdict, start=1):
        for _ in range(number):
            metrics.validation(verdict)
    answered = samples(node, tmp_path)
    for number in range(1, 6):
        for _ in range(number):
            metrics.answer(number * 100 + 4)

    found = samples(node, tmp_path)

    assert [
        found[f"hokusai_api_validations_total{{verdict={verdict.name.lower()}}}"] for verdict in Verdict
    ] == [*range(1, len(Verdict) + 1)]
    classes = [f"hokusai_api_answers_total{{status={n}xx}}" for n in range(1, 6)]
    assert [found[each] - answered[each] for each in classes] == [1, 2, 3, 4, 5]


def test_a_validation_is_counted_as_the_answer_that_it_is(tmp_path: Path) -> None:
    metrics, node, _ = a_worker(tmp_path)
    for verdict in (Verdict.VALID, Verdict.UNKNOWN, Verdict.RATE_LIMITED, Verdict.STALE):
        metrics.validation(verdict)

    found = samples(node, tmp_path)

    assert [found[f"hokusai_api_answers_total{{status={n}xx}}"] for n in range(1, 6)] == [0, 1, 0, 2, 1]


def test_writes_are_counted_with_the_time_they_took(tmp_path: Path) -> None:
    metrics, node, _ = a_worker(tmp_path)

    metrics.write(0.25)
    metrics.write(0.5)

    found = samples(node, tmp_path)
    assert found["hokusai_api_writes_total"] == 2
    assert found["hokusai_api_write_seconds_total"] == 0.75


def test_staleness_is_that_of_the_store(tmp_path: Path) -> None:
    _, node, _ = a_worker(tmp_path)
    freshness = Freshness(tmp_path, lambda: 100.0)
    freshness.fresh_at(90.0)

    families = {family.name: family for family in NodeCollector(node, freshness, Clock()).collect()}

    (sample,) = families["hokusai_api_staleness_seconds"].samples
    assert sample.value == 10.0


def test_how_the_clock_stands_is_told(tmp_path: Path) -> None:
    metrics, node, _ = a_worker(tmp_path)
    time = ManualTime(datetime(2026, 11, 27, tzinfo=UTC))
    clock = time.clock()
    time.step_wall(90)
    clock.seconds()
    time.step_wall(-120)
    metrics.append_time_doubted()

    found = samples(node, tmp_path, clock)

    assert found["hokusai_api_clock_raised_seconds_total"] == 90
    assert found["hokusai_api_clock_ahead_seconds"] == 120
    assert found["hokusai_api_append_times_doubted_total"] == 1


def test_gauges_show_the_largest_of_the_living_processes(tmp_path: Path) -> None:
    """Only the follower counts keys."""
    one, _, _ = a_worker(tmp_path)
    two, node, _ = a_worker(tmp_path)
    one.directory(keys=10, parked=1, unverifiable=4)
    two.directory(keys=9, parked=2, unverifiable=0)

    found = samples(node, tmp_path)

    assert (found["hokusai_api_keys"], found["hokusai_api_parked_lineages"]) == (10, 2)
    assert found["hokusai_api_unverifiable_keys"] == 4


def test_sitting_down_again_counts_nothing_twice(tmp_path: Path) -> None:
    """A start is tried again when Kafka goes away in the middle of it."""
    metrics, node, seat = a_worker(tmp_path)
    metrics.validation(Verdict.VALID)

    metrics.sit(seat)

    assert samples(node, tmp_path)["hokusai_api_validations_total{verdict=valid}"] == 1
