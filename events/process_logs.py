"""What a process logs: lines for people or JSON for machines, each with the request that it belongs to."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field
from pythonjsonlogger.json import JsonFormatter

from events.settings import Settings

#: The request that is being served, empty outside of one. Set by whoever receives requests.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


class LoggingSettings(Settings):
    """How a process logs."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", alias="LOG_LEVEL")
    log_format: Literal["text", "json"] = Field(default="text", alias="LOG_FORMAT")


def configure_logging(settings: LoggingSettings) -> None:
    """Log to stderr, everything in one form: our own lines, and those of uvicorn and the drivers."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(settings))
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    logging.getLogger("aiokafka").setLevel(logging.ERROR)


def formatter(settings: LoggingSettings) -> logging.Formatter:
    """What makes lines of records."""
    return _JsonLines() if settings.log_format == "json" else _TextLines()


class _TextLines(logging.Formatter):
    """`time LEVEL logger [request]: message`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(request)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        request_id = REQUEST_ID.get()
        record.request = f" [{request_id}]" if request_id else ""
        return super().format(record)


class _JsonLines(JsonFormatter):
    """One object a line: `time` (UTC), `level`, `logger`, `message`, and where there are some `request_id`,
    `exception` and whatever a line was logged with as `extra`.
    """

    def __init__(self) -> None:
        super().__init__(
            "{levelname}{name}{message}{exc_info}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            json_ensure_ascii=False,
        )

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        super().add_fields(log_data, record, message_dict)
        if request_id := REQUEST_ID.get():
            log_data["request_id"] = request_id
        if log_data.get("exception") is None:
            log_data.pop("exception", None)
