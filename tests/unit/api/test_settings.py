"""What the api reads from its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.errors import SettingsError
from events.settings import Settings
from services.api.settings import ApiSettings
from services.billing.settings import BillingSettings
from services.projector.settings import ProjectorSettings, WindowsSettings
from tests.certificates import Authority

COMPLETE = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "DATABASE_URL": "postgresql://api:pg-password@127.0.0.1/auth",
    "ADMIN_TOKEN": "an-admin-token-0123456789",
    "KEY_PEPPERS": "2026:0123456789abcdef0123456789abcdef",
}


def settings(**changes: str) -> ApiSettings:
    return ApiSettings.from_environment({**COMPLETE, **changes})


def problems(**changes: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        settings(**changes)
    return refused.value.problems


def test_what_is_not_set_has_the_documented_defaults() -> None:
    defaults = settings()

    assert defaults.bcrypt_rounds == 12
    assert defaults.max_staleness_seconds == 300
    assert defaults.log_level == "INFO"
    assert defaults.lifecycle.name == "keys.lifecycle"


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        ApiSettings.from_environment({"PATH": "/bin"})

    assert {problem.split(":")[0] for problem in refused.value.problems} == set(COMPLETE)


def test_all_that_is_wrong_is_named_at_once() -> None:
    found = problems(
        KAFKA_BOOTSTRAP_SERVERS="",
        KAFKA_SECURITY_PROTOCOL="TELNET",
        KAFKA_TOPIC_PREFIX="what ever",
        ADMIN_TOKEN="short",
        KEY_PEPPERS="2026:short",
        BCRYPT_ROUNDS="twelve",
        MAX_STALENESS_SECONDS="0",
        LOG_LEVEL="LOUD",
    )

    assert {problem.split(":")[0].split(".")[0] for problem in found} == {
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_TOPIC_PREFIX",
        "ADMIN_TOKEN",
        "KEY_PEPPERS",
        "BCRYPT_ROUNDS",
        "MAX_STALENESS_SECONDS",
        "LOG_LEVEL",
    }


@pytest.mark.parametrize(
    "token",
    [
        "fifteen-chars-1",
        "change-me-change-me",
        "CHANGEME-0123456789",
        "your-admin-token-here",
        "placeholder-0123456789",
        "aaaaaaaaaaaaaaaaaaaaaa",
        "abababababababababababab",
        "with spaces in between",
        "ümlaut-0123456789-abc",
        "newline-0123456789\nabc",
        "an-admin-token-0123456789,",
        "an-admin-token-0123456789,short",
    ],
)
@pytest.mark.parametrize("name", ["ADMIN_TOKEN", "USAGE_TOKEN"])
def test_a_short_default_or_unspeakable_token_is_refused(name: str, token: str) -> None:
    (problem,) = problems(**{name: token})

    assert problem.startswith(name)


def test_several_tokens_are_separated_by_commas() -> None:
    tokens = settings(ADMIN_TOKEN="an-admin-token-0123456789, another-token-9876543210").admin_tokens

    assert tokens == ("an-admin-token-0123456789", "another-token-9876543210")


def test_without_a_usage_token_none_is_asked_for() -> None:
    """Compose files pass what is not set as nothing."""
    assert settings().usage_tokens is None
    assert settings(USAGE_TOKEN="").usage_tokens is None

    tokens = settings(USAGE_TOKEN="a-usage-token-0123456789,another-token-9876543210")
    assert tokens.usage_tokens == ("a-usage-token-0123456789", "another-token-9876543210")
    assert "0123456789" not in repr(tokens)


def test_several_peppers_are_separated_by_commas_newest_first() -> None:
    peppers = settings(KEY_PEPPERS=f"2026:{'n' * 32}, 2025:{'o' * 32}").key_peppers

    assert [(pepper.name, pepper.secret) for pepper in peppers] == [("2026", "n" * 32), ("2025", "o" * 32)]


def test_a_pepper_may_contain_a_colon() -> None:
    (pepper,) = settings(KEY_PEPPERS="2026:" + "a:" * 16).key_peppers

    assert pepper.secret == "a:" * 16


@pytest.mark.parametrize(
    "peppers",
    [
        "0123456789abcdef0123456789abcdef",
        ":0123456789abcdef0123456789abcdef",
        "2026:" + "s" * 31,
        "2026:" + "s" * 32 + ",",
        "20 26:" + "s" * 32,
        "x" * 65 + ":" + "s" * 32,
        f"2026:{'s' * 32},2026:{'t' * 32}",
    ],
)
def test_peppers_that_are_short_nameless_or_named_twice_are_refused(peppers: str) -> None:
    (problem,) = problems(KEY_PEPPERS=peppers)

    assert problem.startswith("KEY_PEPPERS")


@pytest.mark.parametrize(
    "url",
    [
        "postgres//api:pg-password@127.0.0.1/auth",
        "postgresql://api:pg-password%zz@127.0.0.1/auth",
        "postgresql://api:pg-password@127.0.0.1/auth?nonsense=1",
        "pg-password",
    ],
)
def test_a_database_url_that_cannot_be_read_is_refused_and_not_repeated(url: str) -> None:
    """Left to the driver, it would be quoted in a log line at every try to connect."""
    (problem,) = problems(DATABASE_URL=url)

    assert problem.startswith("DATABASE_URL")
    assert "pg-password" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://api:pg-password@db:5432/auth?sslmode=verify-full",
        "postgres://db/auth",
        "host=/run/postgresql dbname=auth",
    ],
)
def test_every_form_of_database_url_that_the_driver_takes_is_taken(url: str) -> None:
    assert settings(DATABASE_URL=url).database_url == url


@pytest.mark.parametrize("rounds", ["3", "15", "4.5"])
def test_bcrypt_rounds_are_from_4_to_14(rounds: str) -> None:
    (problem,) = problems(BCRYPT_ROUNDS=rounds)

    assert problem.startswith("BCRYPT_ROUNDS")


TOKEN, OTHER_TOKEN = "an-admin-token-0123456789", "another-token-9876543210"
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"USAGE_TOKEN": TOKEN}, "ADMIN_TOKEN and USAGE_TOKEN"),
        (
            {"ADMIN_TOKEN": f"{OTHER_TOKEN},{TOKEN}", "USAGE_TOKEN": f"x{TOKEN}, {TOKEN}"},
            "ADMIN_TOKEN and USAGE",
        ),
        ({"ADMIN_TOKEN": f"{TOKEN}, {TOKEN}"}, "ADMIN_TOKEN"),
        ({"USAGE_TOKEN": f"{OTHER_TOKEN},{OTHER_TOKEN}"}, "USAGE_TOKEN"),
        ({"KEY_PEPPERS": f"2026:{SECRET},2025:{SECRET}"}, "KEY_PEPPERS"),
        ({"ADMIN_TOKEN": SECRET}, "ADMIN_TOKEN and KEY_PEPPERS"),
        ({"USAGE_TOKEN": SECRET}, "USAGE_TOKEN and KEY_PEPPERS"),
        ({"DATABASE_URL": f"postgresql://api:{TOKEN}@db/auth"}, "ADMIN_TOKEN and DATABASE_URL"),
        ({"DATABASE_URL": f"host=db password={SECRET}"}, "KEY_PEPPERS and DATABASE_URL"),
        (
            {
                "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
                "KAFKA_SASL_USERNAME": "api",
                "KAFKA_SASL_PASSWORD": TOKEN,
            },
            "ADMIN_TOKEN and KAFKA_SASL_PASSWORD",
        ),
    ],
)
def test_a_secret_that_is_another_too_is_refused(changes: dict[str, str], named: str) -> None:
    (problem,) = problems(**changes)

    assert problem.startswith(named)
    assert TOKEN not in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"OPERATIONS_HOST": "10.0.0.1"}, "OPERATIONS_HOST: not used without OPERATIONS_PORT"),
        ({"TLS_KEYFILE": "key.pem"}, "TLS_KEYFILE: not used without TLS_CERTFILE"),
        ({"TLS_CLIENT_CAFILE": "ca.pem"}, "TLS_CLIENT_CAFILE: not used without TLS_CERTFILE"),
        ({"TLS_KEYFILE_PASSWORD": "tiny-secret"}, "TLS_KEYFILE_PASSWORD: not used without TLS_CERTFILE"),
        ({"OPERATIONS_PORT": "0"}, "OPERATIONS_PORT: "),
        ({"OPERATIONS_PORT": "65536"}, "OPERATIONS_PORT: "),
        ({"API_DOCS": "no"}, "API_DOCS: "),
        ({"MAX_STALENESS_SECONDS": "1.9"}, "MAX_STALENESS_SECONDS: "),
        ({"MAX_STALENESS_SECONDS": "inf"}, "MAX_STALENESS_SECONDS: "),
        ({"MAX_STALENESS_SECONDS": "nan"}, "MAX_STALENESS_SECONDS: "),
        ({"KEEP_ALIVE_SECONDS": "nan"}, "KEEP_ALIVE_SECONDS: "),
        ({"KAFKA_MIN_INSYNC_REPLICAS": "2"}, "KAFKA_MIN_INSYNC_REPLICAS: more than"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(changes: dict[str, str], told: str) -> None:
    (problem,) = problems(**changes)

    assert problem.startswith(told)
    assert "tiny-secret" not in problem


def test_what_is_wrong_between_settings_is_told_with_what_is_wrong_in_one() -> None:
    found = problems(
        BCRYPT_ROUNDS="twelve",
        DATABASE_URL="",
        USAGE_TOKEN=TOKEN,
        KAFKA_SSL_CAFILE="ca.pem",
        KAFKA_MIN_INSYNC_REPLICAS="3",
        KAFKA_REPLICATION_FACTOR="2",
        TLS_KEYFILE="key.pem",
        OPERATIONS_HOST="10.0.0.1",
    )

    assert sorted(problem.split(":")[0] for problem in found) == [
        "ADMIN_TOKEN and USAGE_TOKEN",
        "BCRYPT_ROUNDS",
        "DATABASE_URL",
        "KAFKA_MIN_INSYNC_REPLICAS",
        "KAFKA_SSL_CAFILE",
        "OPERATIONS_HOST",
        "TLS_KEYFILE",
    ]


def test_files_of_tls_are_looked_at_with_everything_else(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("server", password="correct-horse")
    given = {"TLS_CERTFILE": str(files.certfile), "TLS_KEYFILE": str(files.keyfile)}
    assert settings(**given, TLS_KEYFILE_PASSWORD="correct-horse").tls is not None
    assert settings().tls is None

    found = problems(**given, TLS_KEYFILE_PASSWORD="wrong-horse", BCRYPT_ROUNDS="3")
    assert [problem.split(":")[0] for problem in found] == ["BCRYPT_ROUNDS", "TLS_KEYFILE cannot be loaded"]
    (problem,) = problems(
        **given, TLS_KEYFILE_PASSWORD="correct-horse", TLS_CLIENT_CAFILE=str(tmp_path / "nothing")
    )
    assert problem.startswith("TLS_CLIENT_CAFILE cannot be loaded")
    for secret in ("correct-horse", "wrong-horse", str(tmp_path)):
        assert secret not in "".join((*found, problem))


def test_the_password_of_a_key_is_not_shown(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("server", password="correct-horse")
    read = settings(
        TLS_CERTFILE=str(files.certfile),
        TLS_KEYFILE=str(files.keyfile),
        TLS_KEYFILE_PASSWORD="correct-horse",
    )
    assert "correct-horse" not in f"{read!r} {read.tls!r}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ADMIN_TOKENS", "ADMIN_TOKEN"),
        ("USAGE_TOKENS", "USAGE_TOKEN"),
        ("KEY_PEPPER", "KEY_PEPPERS"),
        ("admin_token", "ADMIN_TOKEN"),
        ("HOKUSAI_ADMIN_TOKEN", "ADMIN_TOKEN"),
        ("KAFKA_SSL_CA_FILE", "KAFKA_SSL_CAFILE"),
        ("KAFKA_SASL_USER", "KAFKA_SASL_USERNAME"),
        ("TLS_CERT_FILE", "TLS_CERTFILE"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
    ],
)
def test_a_variable_that_looks_like_a_setting_is_told(name: str, meant: str) -> None:
    given = {"PATH": "/bin", **COMPLETE}
    assert ApiSettings.misspelled(given) == []
    [told] = ApiSettings.misspelled({**given, name: "a-value-that-is-secret"})
    assert told == f"{name} is not read: is {meant} meant?"

    with pytest.raises(SettingsError) as refused:
        ApiSettings.from_environment({name: COMPLETE["ADMIN_TOKEN"]})
    assert told in refused.value.problems


def test_no_setting_of_another_process_looks_misspelled() -> None:
    """They share one .env; so do variables that Kafka's own tools and Kubernetes set."""
    processes: list[type[Settings]] = [ApiSettings, ProjectorSettings, WindowsSettings, BillingSettings]
    names = {field.alias or name for one in processes for name, field in one.model_fields.items()}
    strangers = ["HOKUSAI_CACHE_DIR", "KAFKA_HOME", "KAFKA_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_SERVICE_HOST"]
    strangers += ["KAFKA_PORT_9092_TCP", "POSTGRES_PASSWORD", "PGHOST", "HOSTNAME", "LOGNAME", "PORT", "HOST"]
    for process in processes:
        assert process.misspelled(dict.fromkeys([*names, *strangers], "value")) == []


def test_no_secret_is_in_the_settings_repr() -> None:
    shown = repr(settings())

    assert "127.0.0.1:9092" in shown
    for secret in ("pg-password", COMPLETE["ADMIN_TOKEN"], "0123456789abcdef"):
        assert secret not in shown


def test_no_secret_is_in_the_messages() -> None:
    with pytest.raises(SettingsError) as refused:
        settings(ADMIN_TOKEN="tiny-secret", KEY_PEPPERS="2026:tiny-secret", BCRYPT_ROUNDS="tiny-secret")

    assert "tiny-secret" not in f"{refused.value!r} {refused.value}"
    assert refused.value.__suppress_context__
