"""Billing needs two settings; its group and port are its own."""

from __future__ import annotations

import pytest

from events.errors import SettingsError
from services.billing.settings import BillingSettings

ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
    "DATABASE_URL": "postgresql://billing:s3cret@db.internal/hokusai",
}


def test_two_settings_are_enough() -> None:
    settings = BillingSettings.from_environment(ENVIRONMENT)
    assert (settings.metrics_port, settings.closing_interval_seconds) == (9102, 5.0)
    assert settings.group_id("ledger") == "billing.ledger"
    assert "s3cret" not in repr(settings)


def test_every_problem_is_named_at_once() -> None:
    wrong = {"BILLING_GROUP": "no spaces", "BILLING_CLOSING_INTERVAL_SECONDS": "0"}
    with pytest.raises(SettingsError) as refused:
        BillingSettings.from_environment(wrong)
    told = {problem.partition(":")[0] for problem in refused.value.problems}
    assert told == {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", *wrong}
