"""What a process logs, for people and for machines."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import datetime, timedelta

import pytest

from events.process_logs import REQUEST_ID, LoggingSettings, formatter


def a_record(message: str, *arguments: object, **facts: object) -> logging.LogRecord:
    record = logging.LogRecord("services.api", logging.WARNING, "file.py", 1, message, arguments, None)
    record.__dict__.update(facts)
    return record


def lines(log_format: str, *records: logging.LogRecord) -> list[str]:
    made = formatter(LoggingSettings.from_environment({"LOG_FORMAT": log_format}))
    return [made.format(record) for record in records]


def test_text_is_for_people() -> None:
    (line,) = lines("text", a_record("hello %s", "you"))
    assert line.endswith(" WARNING services.api: hello you")


def test_json_is_one_object_a_line() -> None:
    (line,) = lines("json", a_record('two\nlines, %s and "quotes"', "ünïcode", status=200, duration_ms=1.5))
    found = json.loads(line)
    assert "\n" not in line
    time = datetime.fromisoformat(found.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert found == {
        "level": "WARNING",
        "logger": "services.api",
        "message": 'two\nlines, ünïcode and "quotes"',
        "status": 200,
        "duration_ms": 1.5,
    }


def test_an_exception_is_a_field() -> None:
    record = a_record("failed")
    try:
        int("what was wrong")
    except ValueError:
        record.exc_info = sys.exc_info()
    (line,) = lines("json", record)
    assert json.loads(line)["exception"].endswith(
        "ValueError: invalid literal for int() with base 10: 'what was wrong'"
    )


@pytest.mark.anyio
async def test_each_line_names_the_request_that_it_belongs_to() -> None:
    async def serve(name: str) -> list[str]:
        REQUEST_ID.set(name)
        await asyncio.sleep(0)
        return lines("text", a_record("x")) + lines("json", a_record("x"))

    for name, (text, machine) in zip("ab", await asyncio.gather(serve("a"), serve("b")), strict=True):
        assert f" services.api [{name}]: x" in text
        assert json.loads(machine)["request_id"] == name
    assert "request_id" not in json.loads(lines("json", a_record("x"))[0])
