"""What goes to a load generator, and what comes back."""

from __future__ import annotations

import pytest

from bench.generators import Wrk
from bench.load import Measured, Request, Traffic, WrongAnswers, read_measured

OUTPUT = """Running 1s test @ http://127.0.0.1:8000
Requests/sec:  20000.00

{"requests": 20000, "seconds": 2, "wrong": 1, "errors": 2, "statuses": {"200": 19999, "401": 1}, \
"latency_us": {"50": 90, "99": 250.5, "99.9": 400}}
"""


def a_measurement(wrong: int = 0, errors: int = 0, requests: int = 100) -> Measured:
    return Measured(requests, 1.0, {200: requests}, wrong, errors)


def test_the_last_line_of_a_generator_is_what_it_has_measured() -> None:
    measured = read_measured(OUTPUT, cpu_seconds=0.5)
    assert measured.per_second == 10_000
    assert measured.statuses == {200: 19_999, 401: 1}
    assert measured.latency_us[99] == 250.5
    assert (measured.wrong, measured.errors, measured.generator_busy) == (1, 2, 0.25)


@pytest.mark.parametrize(
    "measured",
    [
        pytest.param(a_measurement(wrong=1), id="one wrong answer"),
        pytest.param(a_measurement(errors=1), id="one connection lost"),
        pytest.param(a_measurement(requests=0), id="no answer at all"),
    ],
)
def test_the_speed_of_wrong_answers_does_not_count(measured: Measured) -> None:
    with pytest.raises(WrongAnswers):
        measured.right()


def test_right_answers_count() -> None:
    assert a_measurement().right() == a_measurement()


def test_a_broken_connection_is_no_wrong_answer_where_servers_are_killed() -> None:
    assert a_measurement(errors=1).right(may_lose=True).errors == 1
    with pytest.raises(WrongAnswers):
        a_measurement(errors=1, wrong=1).right(may_lose=True)


def test_a_plan_holds_every_answer_and_request_after_its_length() -> None:
    """Blocks are read by their length: a request may hold any byte, line ends too."""
    request = Request("/validate", {"Authorization": "Bearer x"}, b'{"a":\n1}')
    plan = Wrk("wrk").plan("http://127.0.0.1:8000", Traffic([request], {200: "fine", 401: ""}))
    raw = request.raw("127.0.0.1:8000")
    assert plan == b"2 1\n8\n200 fine4\n401 %d\n%s" % (len(raw), raw)
    assert raw.startswith(b"POST /validate HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert b"\r\nContent-Length: 8\r\n" in raw
    assert raw.endswith(b'\r\nAuthorization: Bearer x\r\n\r\n{"a":\n1}')
