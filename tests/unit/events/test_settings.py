"""Settings are read once, from a mapping that is handed in; all problems are told together."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import Field

from events.errors import SettingsError
from events.settings import KafkaSettings, Settings
from events.topics import Topics
from tests.certificates import Authority

BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "broker:9092"}
PASSWORD = "correct-horse-battery"


def problems(environment: dict[str, str], settings: type[Settings] = KafkaSettings) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        settings.from_environment(environment)
    return caught.value.problems


class Example(Settings):
    port: int = Field(alias="EXAMPLE_PORT")
    name: str = Field(alias="EXAMPLE_NAME", min_length=3)
    optional: str | None = Field(default=None, alias="EXAMPLE_OPTIONAL")


def test_everything_missing_or_wrong_is_told_together() -> None:
    told = problems({"EXAMPLE_PORT": "many"}, Example)
    assert [problem.split(":")[0] for problem in told] == ["EXAMPLE_PORT", "EXAMPLE_NAME"]


def test_a_variable_that_is_set_but_empty_counts_as_not_set() -> None:
    read = Example.from_environment({"EXAMPLE_PORT": "1", "EXAMPLE_NAME": "abc", "EXAMPLE_OPTIONAL": ""})
    assert read.optional is None
    assert problems({"EXAMPLE_PORT": "1", "EXAMPLE_NAME": ""}, Example) == ("EXAMPLE_NAME: Field required",)


def test_other_variables_do_not_matter() -> None:
    assert KafkaSettings.from_environment({**BROKER, "PATH": "/bin"}).bootstrap_servers == "broker:9092"


def test_a_problem_never_quotes_the_value() -> None:
    told = problems({**BROKER, "KAFKA_SECURITY_PROTOCOL": PASSWORD, "KAFKA_SASL_MECHANISM": PASSWORD})
    assert len(told) == 2
    assert PASSWORD not in "".join(told)


def test_settings_are_never_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        KafkaSettings.from_environment(BROKER).bootstrap_servers = "elsewhere:9092"


def test_a_broker_is_needed() -> None:
    assert problems({}) == ("KAFKA_BOOTSTRAP_SERVERS: Field required",)


def test_plain_text_needs_nothing_but_the_broker() -> None:
    assert KafkaSettings.from_environment(BROKER).client_options() == {
        "bootstrap_servers": "broker:9092",
        "security_protocol": "PLAINTEXT",
    }


def test_sasl_settings_reach_the_clients() -> None:
    settings = KafkaSettings.from_environment(
        {
            **BROKER,
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": "api",
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }
    )
    assert settings.client_options() == {
        "bootstrap_servers": "broker:9092",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "api",
        "sasl_plain_password": PASSWORD,
    }
    assert PASSWORD not in f"{settings!r} {settings}"


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("given", [{}, {"KAFKA_SASL_USERNAME": "api"}, {"KAFKA_SASL_PASSWORD": PASSWORD}])
def test_sasl_without_its_credentials_is_refused(protocol: str, given: dict[str, str]) -> None:
    (problem,) = problems({**BROKER, **given, "KAFKA_SECURITY_PROTOCOL": protocol})
    assert "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD are needed" in problem
    assert PASSWORD not in problem


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_checks_the_broker_s_certificate_and_name(protocol: str) -> None:
    sasl = {"KAFKA_SASL_USERNAME": "api", "KAFKA_SASL_PASSWORD": PASSWORD}
    credentials = sasl if protocol == "SASL_SSL" else {}
    settings = KafkaSettings.from_environment({**BROKER, **credentials, "KAFKA_SECURITY_PROTOCOL": protocol})
    context = settings.client_options()["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("given", ["KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE"])
def test_half_a_client_certificate_is_refused(given: str) -> None:
    (problem,) = problems({**BROKER, "KAFKA_SECURITY_PROTOCOL": "SSL", given: "client.pem"})
    assert "KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE go together" in problem


@pytest.mark.parametrize("names", [["KAFKA_SSL_CAFILE"], ["KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE"]])
@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
def test_a_certificate_that_cannot_be_loaded_is_told_as_a_setting(
    names: list[str], content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    given = dict.fromkeys(names, str(file))
    (problem,) = problems({**BROKER, "KAFKA_SECURITY_PROTOCOL": "SSL", **given})
    assert problem.startswith(names[0])
    assert str(tmp_path) not in problem


@pytest.mark.parametrize(
    ("protocol", "given", "named"),
    [
        ("PLAINTEXT", {"KAFKA_SSL_CAFILE": "ca.pem"}, "KAFKA_SSL_CAFILE: not used"),
        (
            "SASL_PLAINTEXT",
            {"KAFKA_SSL_CERTFILE": "c", "KAFKA_SSL_KEYFILE": "k"},
            "KAFKA_SSL_CERTFILE, KAFKA_SSL",
        ),
        ("PLAINTEXT", {"KAFKA_SASL_PASSWORD": PASSWORD}, "KAFKA_SASL_PASSWORD: not used"),
        ("SSL", {"KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_MECHANISM: not used"),
    ],
)
def test_credentials_that_the_protocol_would_pass_over_are_refused(
    protocol: str, given: dict[str, str], named: str
) -> None:
    """Whoever sets them believes that the connection is protected."""
    login = {"KAFKA_SASL_USERNAME": "api", "KAFKA_SASL_PASSWORD": PASSWORD}
    needed = login if protocol.startswith("SASL") else {}
    (problem,) = problems({**BROKER, **needed, **given, "KAFKA_SECURITY_PROTOCOL": protocol})
    assert problem.startswith(named)
    assert PASSWORD not in problem


def test_more_replicas_in_step_than_there_are_is_refused() -> None:
    replicas = {"KAFKA_REPLICATION_FACTOR": "3", "KAFKA_MIN_INSYNC_REPLICAS": "4"}
    (problem,) = problems(replicas, Topics)
    assert problem.startswith("KAFKA_MIN_INSYNC_REPLICAS: more than KAFKA_REPLICATION_FACTOR")
    (problem,) = problems({**replicas, "KAFKA_REPLICATION_FACTOR": "many"}, Topics)
    assert problem.startswith("KAFKA_REPLICATION_FACTOR: ")


def test_settings_that_are_made_without_an_environment_must_agree_too() -> None:
    with pytest.raises(ValueError, match="KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE go together"):
        KafkaSettings(KAFKA_BOOTSTRAP_SERVERS="b:1", KAFKA_SECURITY_PROTOCOL="SSL", KAFKA_SSL_KEYFILE="k")


def test_a_certificate_that_is_lost_later_is_told_as_a_setting(tmp_path: Path) -> None:
    file = Authority(tmp_path).cafile
    settings = KafkaSettings.from_environment(
        {**BROKER, "KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CAFILE": str(file)}
    )
    file.unlink()
    with pytest.raises(SettingsError, match="KAFKA_SSL_CAFILE"):
        settings.client_options()
