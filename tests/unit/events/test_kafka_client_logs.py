"""The driver's log lines, held back where they would tell secrets or flood."""

from __future__ import annotations

import logging

import pytest

from events.kafka_client_logs import SILENCE_SECONDS, NothingTwice, restrain_client_logs


@pytest.fixture(autouse=True)
def _restrained(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    restrain_client_logs()


@pytest.mark.parametrize("name", ["aiokafka.conn", "aiokafka.producer.producer", "aiokafka.anything.else"])
def test_nothing_is_said_at_debug(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """There the driver writes passwords and whole records."""
    logging.getLogger(name).debug("Request: password")
    assert caplog.messages == []


def test_an_error_is_said(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("aiokafka").error("Unable to connect to %s", "said once")
    assert caplog.messages == ["Unable to connect to said once"]


def test_restraining_again_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    restrain_client_logs()
    logging.getLogger("aiokafka").error("Unable to connect to %s", "said after restraining again")
    assert caplog.messages == ["Unable to connect to said after restraining again"]


def test_the_same_message_passes_once_a_minute() -> None:
    now = 0.0
    nothing_twice = NothingTwice(lambda: now)
    assert nothing_twice.filter(a_record("broker 1 is away"))
    assert not nothing_twice.filter(a_record("broker 1 is away"))
    assert nothing_twice.filter(a_record("broker 2 is away"))
    now = SILENCE_SECONDS - 0.1
    assert not nothing_twice.filter(a_record("broker 1 is away"))
    now = SILENCE_SECONDS
    assert nothing_twice.filter(a_record("broker 1 is away"))


def test_messages_of_long_ago_are_forgotten() -> None:
    now = 0.0
    nothing_twice = NothingTwice(lambda: now)
    for number in range(1000):
        now += 1.0
        nothing_twice.filter(a_record(f"offset {number}"))
    assert len(nothing_twice._passed) <= SILENCE_SECONDS


def a_record(message: str) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", logging.ERROR, __file__, 1, message, None, None)
