from __future__ import annotations

from pathlib import Path

import pytest

from events.settings import KafkaSettings
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
    others = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SSL_CAFILE": "ca.pem",
        "KAFKA_SASL_USERNAME": "api",
    }
    layout = lay_out(8000, tmp_path, 1, others)
    assert layout.environment["KAFKA_SECURITY_PROTOCOL"] == "PLAINTEXT"
    # A service refuses settings that it would not use.
    assert KafkaSettings.from_environment(layout.environment).security_protocol == "PLAINTEXT"


def test_with_a_certificate_the_api_is_https(tmp_path: Path) -> None:
    layout = lay_out(8000, tmp_path, 1, {**OUTSIDE, "TLS_CERTFILE": "server.pem"})
    assert layout.api_url == layout.operations_url == "https://127.0.0.1:8000"


def test_where_callers_need_certificates_it_is_asked_on_another_port_whether_it_is_ready(
    tmp_path: Path,
) -> None:
    tls = {"TLS_CERTFILE": "server.pem", "TLS_CLIENT_CAFILE": "ca.pem"}
    layout = lay_out(8000, tmp_path, 1, {**OUTSIDE, **tls})
    port = layout.environment["OPERATIONS_PORT"]
    assert layout.api_url == "https://127.0.0.1:8000"
    assert layout.operations_url == f"http://127.0.0.1:{port}" != "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("fd00::1", "[fd00::1]"),
    ],
)
def test_operations_are_where_the_environment_says(tmp_path: Path, host: str, reached: str) -> None:
    given = {"OPERATIONS_PORT": "9100", "OPERATIONS_HOST": host, "TLS_CERTFILE": "server.pem"}
    layout = lay_out(8000, tmp_path, 1, {**OUTSIDE, **given})
    assert layout.operations_url == f"http://{reached}:9100"
    assert layout.api_url == "https://127.0.0.1:8000"


def test_secrets_are_not_shown_by_accident(tmp_path: Path) -> None:
    layout = lay_out(8000, tmp_path, 1, OUTSIDE)
    shown = repr(layout) + repr([service.program() for service in layout.services])
    assert OUTSIDE["ADMIN_TOKEN"] not in shown
    assert layout.environment["KEY_PEPPERS"] not in shown


def test_our_postgres_is_reached_whatever_is_set_for_another(tmp_path: Path) -> None:
    others = {"PGHOSTADDR": "192.0.2.1", "PGSERVICE": "warehouse", "PGOPTIONS": "-c timezone=Asia/Kolkata"}
    assert not others.keys() & lay_out(8000, tmp_path, 1, others).environment.keys()
    elsewhere = lay_out(8000, tmp_path, 1, {**others, "DATABASE_URL": OUTSIDE["DATABASE_URL"]})
    assert others.items() <= elsewhere.environment.items()
