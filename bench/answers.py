"""Asks a server one request at a time and looks at all of the answer, before its speed is measured."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.load import Request, WrongAnswers

#: The server writes these by itself.
FROM_THE_SERVER = ("date",)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came: header names in lower case, in order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


def ask(url: str, request: Request) -> Answer:
    """One answer, over a connection of its own."""
    return next(iter(ask_all(url, [request])))


def ask_all(url: str, requests: Iterable[Request]) -> Iterable[Answer]:
    """The answers in the order of the requests, over one connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        for request in requests:
            headers = {"Content-Type": "application/json", **request.headers}
            connection.request("POST", request.path, request.body, headers)
            response = connection.getresponse()
            kept = tuple(
                (name.lower(), value)
                for name, value in response.getheaders()
                if name.lower() not in FROM_THE_SERVER
            )
            yield Answer(response.status, kept, response.read().decode())
    finally:
        connection.close()


def check(url: str, expected: Iterable[tuple[Request, int, str | None]]) -> None:
    """Each request must get this status and, unless it is None, name this key_id in its body."""
    wanted = list(expected)
    for (_, status, key_id), answer in zip(wanted, ask_all(url, (each[0] for each in wanted)), strict=True):
        if answer.status != status or json.loads(answer.body).get("key_id") != key_id:
            raise WrongAnswers(f"wanted {status} for key {key_id}, got {answer.status} {answer.body}")
