"""What the projector measures beyond what every keeper of a schema does."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from events.keeper.metrics import Metrics


class ProjectorMetrics(Metrics):
    """The numbers of one projector."""

    def __init__(self) -> None:
        super().__init__("projector")
        self.parked_lineages = Gauge(
            "projector_parked_lineages",
            "Lineages that are closed because a record of theirs could not be followed.",
            registry=self.registry,
        )
        self.published_records = Counter(
            "projector_published_records",
            "Records of hourly totals sent and acknowledged.",
            registry=self.registry,
        )
        self.published_until = Gauge(
            "projector_published_until_timestamp_seconds",
            "Uses that the broker took before are in usage.hourly, by its own time; 0: not known yet.",
            registry=self.registry,
        )
        self.query_timeouts = Counter(
            "projector_query_timeouts",
            "Queries that met their time limit; the work goes on with less at once.",
            ("work",),
            registry=self.registry,
        )
        self.unpublished_rows = Gauge(
            "projector_unpublished_rows",
            "Hourly totals that usage.hourly was not seen to have yet.",
            registry=self.registry,
        )
