from __future__ import annotations

from pathlib import Path

import pytest

from services.local.layout import lay_out

OUTSIDE = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092",
    "KAFKA_SECURITY_PROTOCOL": "SSL",
    "DATABASE_URL": "postgresql://database.example/hokusai",
    "ADMIN_TOKEN": "the-token-of-the-environment",
}


def test_a_bare_environment_gets_both_servers(tmp_path: Path) -> None:
    layout = lay_out(8000, tmp_path, 1, {})
    assert [server.name for server in layout.servers] == ["postgres", "kafka"]
    assert [service.name for service in layout.services] == ["api", "projector", "windows", "billing"]
    assert layout.environment["KAFKA_BOOTSTRAP_SERVERS"] == layout.kafka_bootstrap_servers
    assert layout.environment["DATABASE_URL"] == layout.database_url


@pytest.mark.parametrize(
    ("named", "left"), [("KAFKA_BOOTSTRAP_SERVERS", ["postgres"]), ("DATABASE_URL", ["kafka"])]
)
def test_a_server_that_the_environment_names_replaces_ours(
    tmp_path: Path, named: str, left: list[str]
) -> None:
    layout = lay_out(8000, tmp_path, 1, {named: OUTSIDE[named]})
    assert [server.name for server in layout.servers] == left
    assert layout.environment[named] == OUTSIDE[named]


def test_services_get_all_of_the_environment(tmp_path: Path) -> None:
    layout = lay_out(8000, tmp_path, 1, {**OUTSIDE, "LOG_LEVEL": "DEBUG"})
    assert layout.servers == []
    assert OUTSIDE.items() <= layout.environment.items()
    assert layout.environment["LOG_LEVEL"] == "DEBUG"


def test_our_kafka_is_reached_in_the_clear_whatever_is_set_for_another(tmp_path: Path) -> None:
    layout = lay_out(8000, tmp_path, 1, {"KAFKA_SECURITY_PROTOCOL": "SSL"})
    assert layout.environment["KAFKA_SECURITY_PROTOCOL"] == "PLAINTEXT"


def test_secrets_are_not_shown_by_accident(tmp_path: Path) -> None:
    layout = lay_out(8000, tmp_path, 1, OUTSIDE)
    shown = repr(layout) + repr([service.program() for service in layout.services])
    assert OUTSIDE["ADMIN_TOKEN"] not in shown
    assert layout.environment["KEY_PEPPERS"] not in shown
