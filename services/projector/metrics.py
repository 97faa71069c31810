"""Every metric of the projector: its name, its kind and what it means."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The numbers of one process, as Prometheus reads them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.parked_lineages = Gauge(
            "projector_parked_lineages",
            "Lineages that are closed because a record of theirs could not be followed.",
            registry=self._registry,
        )
        self.log_is_ours = Gauge(
            "projector_log_is_ours",
            "1 while the log is the one that the rows were made from, with nothing forgotten; else 0.",
            registry=self._registry,
        )
        self._lag = Gauge(
            "projector_lag_records",
            "Records in the log that are not applied yet.",
            ("projection", "partition"),
            registry=self._registry,
        )
        self._applied = Counter(
            "projector_applied_records",
            "Records applied.",
            ("projection",),
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "projector_batch_seconds",
            "Time from a batch in hand to its commit.",
            ("projection",),
            buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
            registry=self._registry,
        )
        self._dead_letters = Counter(
            "projector_dead_letters",
            "Records sent to the dead letters: unreadable, gap, contradiction.",
            ("projection", "reason"),
            registry=self._registry,
        )
        self._stale_owner = Counter(
            "projector_stale_owner_drops",
            "Batches not written because somebody else had claimed the partition.",
            ("projection",),
            registry=self._registry,
        )

    def of(self, projection: str) -> MetricsOfProjection:
        return MetricsOfProjection(
            projection, self._lag, self._applied, self._batch_seconds, self._dead_letters, self._stale_owner
        )

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)


class MetricsOfProjection:
    """What one projection's runner tells: `events.projection.ProjectionMetrics`."""

    def __init__(
        self,
        projection: str,
        lag: Gauge,
        applied: Counter,
        batch_seconds: Histogram,
        dead_letters: Counter,
        stale_owner: Counter,
    ) -> None:
        self._projection = projection
        self._lag = lag
        self._applied = applied.labels(projection)
        self._batch_seconds = batch_seconds.labels(projection)
        self._dead_letters = dead_letters
        self._stale_owner = stale_owner.labels(projection)

    def batch_applied(self, partition: int, records: int, seconds: float) -> None:
        self._applied.inc(records)
        self._batch_seconds.observe(seconds)

    def lag(self, partition: int, records: int) -> None:
        self._lag.labels(self._projection, partition).set(records)

    def partition_lost(self, partition: int) -> None:
        self._lag.remove(self._projection, partition)  # another process tells it now

    def stale_owner(self, partition: int) -> None:
        self._stale_owner.inc()

    def dead_letter(self, reason: str) -> None:
        self._dead_letters.labels(self._projection, reason).inc()
