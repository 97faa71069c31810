"""What `hokusai-auth api` does before it serves."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from services.api.__main__ import REFUSED, main


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_bad_settings_are_refused_in_one_sentence_that_names_them_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = {"ADMIN_TOKEN": "a-secret", "KEY_PEPPERS": "2026:a-secret", "BCRYPT_ROUNDS": "a-secret"}

    assert main("127.0.0.1", 0, 1, environment) == REFUSED == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("hokusai-auth api: bad settings: ")
    assert said.err.count("\n") == 1
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "ADMIN_TOKEN", "KEY_PEPPERS", "BCRYPT_ROUNDS"):
        assert name in said.err
    assert "a-secret" not in said.err


COMPLETE = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "DATABASE_URL": "host=127.0.0.1 port=1",
    "ADMIN_TOKEN": "an-admin-token-0123456789",
    "KEY_PEPPERS": "2026:a pepper of thirty-two characters",
}


@pytest.mark.parametrize("also_wrong", [{}, {"BCRYPT_ROUNDS": "many"}])
def test_operations_on_the_port_of_the_api_are_refused(
    also_wrong: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {**COMPLETE, **also_wrong, "OPERATIONS_PORT": "8000"}

    assert main("127.0.0.1", 8000, 1, environment) == REFUSED

    said = capsys.readouterr().err
    assert "OPERATIONS_PORT: the api itself listens there" in said
    assert all(name in said for name in also_wrong)
    assert said.count("\n") == 1


def test_a_port_of_operations_that_is_taken_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {**COMPLETE, "OPERATIONS_PORT": str(taken.getsockname()[1])}
        assert main("127.0.0.1", 1, 1, environment) == REFUSED

    assert "OPERATIONS_PORT: cannot listen on 127.0.0.1:" in capsys.readouterr().err


def test_a_variable_that_looks_like_a_setting_is_told(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {**COMPLETE, "OPERATIONS_PORT": port, "USAGE_TOKENS": "a-secret"}
        assert main("127.0.0.1", 1, 1, environment) == REFUSED

    assert "USAGE_TOKENS is not read: is USAGE_TOKEN meant?" in caplog.text
    assert "a-secret" not in caplog.text + capsys.readouterr().err
