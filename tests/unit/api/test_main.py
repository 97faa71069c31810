"""What `hokusai-auth api` does before it serves."""

from __future__ import annotations

import signal
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
