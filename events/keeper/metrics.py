"""What every process that keeps a schema measures; a service adds its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The numbers of one process, as Prometheus reads them; `service` begins every name."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="hokusai", registry=self.registry)
        self.log_is_ours = Gauge(
            f"{service}_log_is_ours",
            "1 while the log is the one that the rows were made from, with nothing forgotten; else 0.",
            registry=self.registry,
        )
        self._lag = Gauge(
            f"{service}_lag_records",
            "Records in the log that are not applied yet.",
            ("projection", "partition"),
            registry=self.registry,
        )
        self._oldest_seconds = Gauge(
            f"{service}_oldest_unapplied_seconds",
            "Age of the first record that is not applied yet; 0 where all are.",
            ("projection", "partition"),
            registry=self.registry,
        )
        self._held_up_records = Gauge(
            f"{service}_held_up_records",
            "Records that are not read before a foreign producer ends its transaction.",
            ("projection", "partition"),
            registry=self.registry,
        )
        self._held_up_seconds = Gauge(
            f"{service}_held_up_seconds",
            "How long they have been waiting for that, as far as this process has seen.",
            ("projection", "partition"),
            registry=self.registry,
        )
        self._applied = Counter(
            f"{service}_applied_records",
            "Records applied.",
            ("projection",),
            registry=self.registry,
        )
        self._batch_seconds = Histogram(
            f"{service}_batch_seconds",
            "Time from a batch in hand to its commit.",
            ("projection",),
            buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
            registry=self.registry,
        )
        self._age_seconds = Histogram(
            f"{service}_lag_seconds",
            "Time from the append of a batch's first record until its rows can be read.",
            ("projection",),
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600),
            registry=self.registry,
        )
        self._dead_letters = Counter(
            f"{service}_dead_letters",
            "Records that somebody has to look at, by what is wrong with them.",
            ("projection", "reason"),
            registry=self.registry,
        )
        self._stale_owner = Counter(
            f"{service}_stale_owner_drops",
            "Batches not written because somebody else had claimed the partition.",
            ("projection",),
            registry=self.registry,
        )

    def of(self, projection: str) -> MetricsOfProjection:
        return MetricsOfProjection(self, projection)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsOfProjection:
    """What one projection's runner tells: `events.projection.ProjectionMetrics`."""

    def __init__(self, metrics: Metrics, projection: str) -> None:
        self._projection = projection
        self._lag = metrics._lag
        self._oldest_seconds = metrics._oldest_seconds
        self._held_up_records = metrics._held_up_records
        self._held_up_seconds = metrics._held_up_seconds
        self._applied = metrics._applied.labels(projection)
        self._batch_seconds = metrics._batch_seconds.labels(projection)
        self._age_seconds = metrics._age_seconds.labels(projection)
        self._dead_letters = metrics._dead_letters
        self._stale_owner = metrics._stale_owner.labels(projection)

    def batch_applied(self, partition: int, records: int, seconds: float, age_seconds: float) -> None:
        self._applied.inc(records)
        self._batch_seconds.observe(seconds)
        self._age_seconds.observe(age_seconds)

    def lag(self, partition: int, records: int) -> None:
        self._lag.labels(self._projection, partition).set(records)

    def oldest_unapplied(self, partition: int, seconds: float) -> None:
        self._oldest_seconds.labels(self._projection, partition).set(seconds)

    def held_up(self, partition: int, records: int, seconds: float) -> None:
        self._held_up_records.labels(self._projection, partition).set(records)
        self._held_up_seconds.labels(self._projection, partition).set(seconds)

    def partition_lost(self, partition: int) -> None:
        for gauge in (self._lag, self._oldest_seconds, self._held_up_records, self._held_up_seconds):
            gauge.remove(self._projection, partition)  # another process tells it now

    def stale_owner(self, partition: int) -> None:
        self._stale_owner.inc()

    def dead_letter(self, reason: str) -> None:
        self._dead_letters.labels(self._projection, reason).inc()
