"""What Kafka's driver may log: no secret, and nothing over and over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

SILENCE_SECONDS = 60.0

#: A filter works for the logger that it is added to, not for the loggers below.
_LOGGERS = (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.consumer",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.producer",
    "aiokafka.producer.sender",
)


class NothingTwice(logging.Filter):
    """Lets a message pass that it has not let pass within the last minute."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, message = self._seconds(), record.getMessage()
        if now - self._passed.get(message, -SILENCE_SECONDS) < SILENCE_SECONDS:
            return False
        self._passed = {text: then for text, then in self._passed.items() if now - then < SILENCE_SECONDS}
        self._passed[message] = now
        return True


_NOTHING_TWICE = NothingTwice()


def restrain_client_logs() -> None:
    """Let the driver say the same thing once a minute, and nothing at DEBUG. Harmless when repeated.

    At DEBUG it writes whole requests: passwords, and records with the hashes of keys. While a broker is
    away it would write some 70 lines a second.
    """
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
        logger.addFilter(_NOTHING_TWICE)  # once, however often it is added
