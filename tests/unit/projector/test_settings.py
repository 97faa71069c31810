"""Settings come from a mapping, all problems at once, and show no password."""

from __future__ import annotations

import pytest

from events.errors import SettingsError
from events.keeper.database import address
from services.projector.settings import ProjectorSettings

ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
    "DATABASE_URL": "postgresql://projector:s3cret@db.internal/hokusai",
}


def test_two_settings_are_enough() -> None:
    settings = ProjectorSettings.from_environment(ENVIRONMENT)
    assert (settings.metrics_host, settings.metrics_port) == ("127.0.0.1", 9101)
    assert settings.group_id("keys") == "projector.keys"


def test_prefix_and_group_tell_groups_apart() -> None:
    settings = ProjectorSettings.from_environment(
        {**ENVIRONMENT, "KAFKA_TOPIC_PREFIX": "staging.", "PROJECTOR_GROUP": "blue"}
    )
    assert settings.group_id("keys") == "staging.blue.keys"


def test_every_problem_is_named_at_once() -> None:
    wrong = {"METRICS_PORT": "many", "KAFKA_TOPIC_PREFIX": "no spaces", "LOG_CHECK_SECONDS": "0"}
    with pytest.raises(SettingsError) as refused:
        ProjectorSettings.from_environment(wrong)
    told = {problem.partition(":")[0] for problem in refused.value.problems}
    assert told == {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", *wrong}


def test_no_password_is_shown() -> None:
    settings = ProjectorSettings.from_environment(ENVIRONMENT)
    assert "s3cret" not in repr(settings)
    assert address(settings.database_url) == "Postgres at db.internal:5432"


def test_what_is_no_connection_string_is_refused_without_quoting_it() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as refused:
        ProjectorSettings.from_environment({**ENVIRONMENT, "DATABASE_URL": "s3cret and nonsense"})
    assert "s3cret" not in str(refused.value)
