"""A key with a limit, and how much of it is used as the api tells."""

from __future__ import annotations

import http.client

from bench import traffic
from bench.answers import Answer, ask
from bench.load import Request


class LimitedKey:
    """One key; whoever asks about it uses it."""

    def __init__(self, secret: str, limit: int) -> None:
        self.request: Request = traffic.bearer(secret)
        self.limit = limit

    def used(self, answer: Answer) -> int:
        """How many requests of this hour had been admitted, that which was answered included."""
        return self.limit - int(dict(answer.headers)["ratelimit-remaining"])

    def ask_anyone(self, url: str) -> Answer | None:
        """Any worker's answer; None where that one has just been killed."""
        try:
            return ask(url, self.request)
        except (OSError, http.client.HTTPException):
            return None
