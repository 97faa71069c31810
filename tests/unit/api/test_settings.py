"""What the api reads from its environment."""

from __future__ import annotations

import pytest

from events.errors import SettingsError
from services.api.settings import ApiSettings

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
    peppers = settings(KEY_PEPPERS=f"2026:{'n' * 32}, 2025:{'o' * 32}").peppers

    assert [(pepper.name, pepper.secret) for pepper in peppers] == [("2026", "n" * 32), ("2025", "o" * 32)]


def test_a_pepper_may_contain_a_colon() -> None:
    (pepper,) = settings(KEY_PEPPERS="2026:" + "a:" * 16).peppers

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


@pytest.mark.parametrize("rounds", ["3", "17", "4.5"])
def test_bcrypt_rounds_are_from_4_to_16(rounds: str) -> None:
    (problem,) = problems(BCRYPT_ROUNDS=rounds)

    assert problem.startswith("BCRYPT_ROUNDS")


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
