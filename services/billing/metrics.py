"""What billing measures beyond what every keeper of a schema does."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from events.keeper.metrics import Metrics


class BillingMetrics(Metrics):
    """The numbers of one billing process."""

    def __init__(self) -> None:
        super().__init__("billing")
        self.months_due = Gauge(
            "billing_months_due",
            "Months with statements that could be closed now, when this process last looked.",
            registry=self.registry,
        )
        self.statements_due = Gauge(
            "billing_statements_due",
            "Statements that could be closed now, when this process last looked.",
            registry=self.registry,
        )
        self.statements_outgoing = Gauge(
            "billing_statements_outgoing",
            "Statements that are written, and not yet read back from the log.",
            registry=self.registry,
        )
        self.statements_closed = Counter(
            "billing_statements_closed",
            "Statements that this process has read back from the log.",
            registry=self.registry,
        )
        self.last_closing = Gauge(
            "billing_last_closing_timestamp_seconds",
            "When this process last closed a statement, by its own clock; 0: never.",
            registry=self.registry,
        )
        self.unknown_lineages = Gauge(
            "billing_unknown_lineages",
            "Lineages with use that was due, and that nobody had created: they are not billed.",
            registry=self.registry,
        )
        self.refused_statements = Gauge(
            "billing_refused_statements",
            "Statements that are due, and cannot be written: they are not closed, somebody has to look.",
            registry=self.registry,
        )
        self.undeliverable_statements = Gauge(
            "billing_undeliverable_statements",
            "Statements that the log does not take: their lineages are not closed, somebody has to look.",
            registry=self.registry,
        )
        self.incomplete_statements = Gauge(
            "billing_incomplete_statements",
            "Statements of which parts were not read: nothing more is closed for their lineages.",
            registry=self.registry,
        )
        self.complete_until = Gauge(
            "billing_complete_until_timestamp_seconds",
            "Uses that the broker took before are in the ledger, by its own time; 0: not known yet.",
            registry=self.registry,
        )
        self.query_timeouts = Counter(
            "billing_query_timeouts",
            "Queries of closing that met their time limit; it goes on with less at once.",
            registry=self.registry,
        )
        self.unreadable_records = Counter(
            "billing_unreadable_records",
            "Records skipped because they cannot be understood; the log says where they are.",
            ("projection",),
            registry=self.registry,
        )
