"""HTTPS: what new connections are shown, renewed without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from events.errors import SettingsError
from events.tls_files import load_authorities, load_own_certificate

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
#: asyncio's own limit is a minute; whoever never says hello holds a descriptor that long.
HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files to serve HTTPS with. With `client_cafile` a caller needs a certificate of that authority."""

    certfile: str
    keyfile: str | None = None
    password: str | None = field(default=None, repr=False)
    client_cafile: str | None = None

    def load(self) -> ssl.SSLContext:
        """A server's context. Raises `SettingsError` where a file is missing or wrong."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        load_own_certificate(context, "TLS_", self.certfile, self.keyfile, self.password)
        if self.client_cafile is not None:
            load_authorities(context, "TLS_CLIENT_CAFILE", self.client_cafile)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def states(self) -> list[object]:
        """Differ from those of another moment when a file was written or replaced in between."""
        paths = [path for path in (self.certfile, self.keyfile, self.client_cafile) if path is not None]
        return [_state(Path(path)) for path in paths]


class ServerTls:
    """The context that a server listens with. It can be handed to worker processes before it is loaded.

    A server keeps the context that it began with, so each connection is handed on to the newest one when its
    client says hello; a context that is loaded whole is never seen half renewed.
    """

    def __init__(self, files: TlsFiles, look_seconds: float = LOOK_SECONDS) -> None:
        self._files = files
        self._look_seconds = look_seconds
        self._newest: ssl.SSLContext | None = None
        self._states: list[object] = []
        self._refused: list[object] = []
        self._has_other_authorities = False

    def context(self, *_: object) -> ssl.SSLContext:
        """What to listen with: uvicorn's `ssl_context_factory`. Raises `SettingsError`."""
        self._states = self._files.states()
        self._newest = self._files.load()
        listening = self._files.load()
        listening.sni_callback = self._hand_on
        return listening

    async def watch(self) -> None:
        """Look every few seconds, and on SIGHUP, whether the files have been renewed. For ever."""
        asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), self._look_seconds)
            asked.clear()
            await self.renew()

    async def renew(self) -> None:
        """Show new connections what the files hold now; where they are wrong, what they were shown before."""
        states = await asyncio.to_thread(self._files.states)
        if states == self._states:
            return
        try:
            self._newest = await asyncio.to_thread(self._files.load)
        except SettingsError as error:
            if states != self._refused:
                logger.warning("the renewed certificate can't be used, the old one stays: %s", error)
            self._refused = states
        else:
            logger.info("new connections are shown the renewed certificate")
            if self._files.client_cafile is not None and states[-1] != self._states[-1]:
                self._has_other_authorities = True
            self._states = states

    def _hand_on(
        self, connection: ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext
    ) -> int | None:
        # A session is resumed without a look at the client's certificate, which may be of an authority of
        # before. A client that is refused drops the session and shows its certificate next time.
        if self._has_other_authorities and connection.session_reused:
            return ssl.ALERT_DESCRIPTION_BAD_CERTIFICATE
        if self._newest is not None:
            connection.context = self._newest
        return None


class HandshakeLimitingLoop(uvloop.Loop):
    """Whoever connects and does not say hello is hung up on in time."""

    async def create_server(  # type: ignore[override]
        self, *arguments: Any, **options: Any
    ) -> asyncio.AbstractServer:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
        return await super().create_server(*arguments, **options)


def _state(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
