"""One of our services as a child process."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from services.local.process import ManagedProcess
from services.local.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PROBE_SECONDS = 2.0


class Service(ManagedProcess):
    """One of our services as a child process, ready when its URL answers 200."""

    #: The workers of the api answer what they have begun (6 s), then its follower publishes counts (4 s).
    patience_seconds: ClassVar[float] = 12.0

    def __init__(
        self,
        name: str,
        data_dir: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        ready_url: str,
    ) -> None:
        super().__init__(name, data_dir)
        self._program = Program(arguments, environment)
        self._ready_url = urlsplit(ready_url)

    def program(self) -> Program:
        return self._program

    def is_ready(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", self._ready_url.path)
            answered = connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return answered and self.is_running

    def _connection(self) -> http.client.HTTPConnection:
        place = self._ready_url.netloc
        if self._ready_url.scheme == "http":
            return http.client.HTTPConnection(place, timeout=_PROBE_SECONDS)
        # It is our own child and is told nothing; its certificate names it as others know it.
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(place, timeout=_PROBE_SECONDS, context=unverified)
