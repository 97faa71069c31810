"""HTTPS as clients meet it: a real server, real handshakes, certificates that are renewed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from events.keeper.operations import bind, serve
from services.api.http.tls import HANDSHAKE_SECONDS, HandshakeLimitingLoop, ServerTls, TlsFiles
from tests.certificates import Authority, Files

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 10.0
NEVER = 3600.0


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """What hands connections on is asked by both loops, each with a TLS of its own."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Client:
    """Somebody who trusts an authority, and may have a certificate."""

    def __init__(self, port: int, cafile: Path, own: Files | None = None, *, resumes: bool = False) -> None:
        """`resumes`: offers again what was agreed last time, as browsers and many HTTP clients do."""
        self._port = port
        self._resumes = resumes
        self.context = ssl.create_default_context(cafile=str(cafile))
        self._session: ssl.SSLSession | None = None
        if own is not None:
            self.context.load_cert_chain(own.certfile, own.keyfile)

    async def serial(self) -> int:
        """The number of the certificate that is shown; `RefusedError` where one side refuses the other."""
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> int:
        try:
            plain = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_SECONDS)
            with plain, self._handshake(plain) as connection:
                certificate = connection.getpeercert(binary_form=True)
                connection.sendall(b"GET / HTTP/1.1\r\nHost: auth\r\nConnection: close\r\n\r\n")
                answer = connection.recv(65536)
                self._session = connection.session if self._resumes else None
        except (ssl.SSLError, ConnectionError) as error:
            raise RefusedError from error
        # With TLS 1.3 a client believes itself welcome until it reads.
        if not answer:
            raise RefusedError
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert certificate is not None
        return x509.load_der_x509_certificate(certificate).serial_number

    def _handshake(self, plain: socket.socket) -> ssl.SSLSocket:
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1", session=self._session)


class RefusedError(Exception):
    """There was no handshake."""


@asynccontextmanager
async def serving(tls: ServerTls) -> AsyncIterator[int]:
    """The port of a server with that TLS."""

    async def hello(_: Request) -> Response:
        return PlainTextResponse("hello")

    listener = bind("PORT", "127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = Starlette(routes=[Route("/", hello)])
    tasks = [
        asyncio.create_task(serve(app, listener, ssl_context_factory=tls.context)),
        asyncio.create_task(tls.watch()),
    ]
    await until(lambda: answers(port))
    try:
        yield port
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def server_tls(files: Files, look_seconds: float = NEVER, client_cafile: Path | None = None) -> ServerTls:
    cafile = None if client_cafile is None else str(client_cafile)
    return ServerTls(TlsFiles(str(files.certfile), str(files.keyfile), None, cafile), look_seconds)


def serial_in(files: Files) -> int:
    return x509.load_pem_x509_certificates(files.certfile.read_bytes())[0].serial_number


async def test_a_renewed_certificate_is_shown_by_itself(authority: Authority) -> None:
    files = authority.issue("server")
    first = serial_in(files)
    async with serving(server_tls(files, look_seconds=0.05)) as port:
        client = Client(port, authority.cafile)
        assert await client.serial() == first

        authority.issue("server")
        assert serial_in(files) != first
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await client.serial() == first:
                await asyncio.sleep(0.01)
        assert await client.serial() == serial_in(files)


async def test_a_renewed_certificate_is_shown_after_sighup(authority: Authority) -> None:
    files = authority.issue("server")
    first = serial_in(files)
    async with serving(server_tls(files)) as port:
        client = Client(port, authority.cafile)
        authority.issue("server")
        assert await client.serial() == first

        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await client.serial() == first:
                await asyncio.sleep(0.01)
        assert await client.serial() == serial_in(files)


async def test_half_a_renewal_changes_nothing_until_it_is_whole(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files = authority.issue("server")
    first = serial_in(files)
    tls = server_tls(files)
    async with serving(tls) as port:
        client = Client(port, authority.cafile)
        renewed = authority.issue("renewed")

        files.certfile.write_bytes(renewed.certfile.read_bytes())
        for _ in range(3):
            await tls.renew()
            assert await client.serial() == first
        assert caplog.text.count("the old one stays") == 1

        for content in (b"", b"nonsense"):
            files.keyfile.write_bytes(content)
            await tls.renew()
        files.keyfile.unlink()
        await tls.renew()
        assert await client.serial() == first

        files.keyfile.write_bytes(renewed.keyfile.read_bytes())
        await tls.renew()
        assert await client.serial() == serial_in(renewed)
    assert "new connections are shown the renewed certificate" in caplog.text


async def test_a_connection_that_is_open_goes_on(authority: Authority) -> None:
    files = authority.issue("server")
    tls = server_tls(files)
    async with serving(tls) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=Client(port, authority.cafile).context
        )
        authority.issue("server")
        await tls.renew()
        writer.write(b"GET / HTTP/1.1\r\nHost: auth\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        await writer.wait_closed()


async def test_callers_need_a_certificate_of_the_clients_authority(
    authority: Authority, tmp_path: Path
) -> None:
    clients, strangers = Authority(tmp_path, "clients"), Authority(tmp_path, "strangers")
    files = authority.issue("server")
    async with serving(server_tls(files, client_cafile=clients.cafile)) as port:
        assert await Client(port, authority.cafile, clients.issue("known")).serial() == serial_in(files)
        for own in (None, strangers.issue("stranger"), authority.issue("of-the-server")):
            with pytest.raises(RefusedError):
                await Client(port, authority.cafile, own).serial()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_another_authority_of_clients_counts_once_it_is_there(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    before, after = Authority(tmp_path, "before"), Authority(tmp_path, "after")
    cafile = tmp_path / "clients.pem"
    cafile.write_bytes(before.cafile.read_bytes())
    files = authority.issue("server")
    tls = server_tls(files, client_cafile=cafile)
    async with serving(tls) as port:
        old = Client(port, authority.cafile, before.issue("old"), resumes=True)
        new = Client(port, authority.cafile, after.issue("new"))
        for client in (old, new):
            client.context.minimum_version = client.context.maximum_version = version
        await old.serial()
        with pytest.raises(RefusedError):
            await new.serial()

        cafile.write_bytes(after.cafile.read_bytes())
        await tls.renew()
        await new.serial()
        for _ in range(3):
            with pytest.raises(RefusedError):
                await old.serial()


async def test_nothing_older_than_tls_1_2(authority: Authority) -> None:
    async with serving(server_tls(authority.issue("server"))) as port:
        client = Client(port, authority.cafile)
        client.context.maximum_version = ssl.TLSVersion.TLSv1_2
        await client.serial()
        old = Client(port, authority.cafile)
        old.context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(RefusedError):
            await old.serial()


async def test_what_is_no_handshake_is_hung_up_on_quietly(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Scanners do it all day: each would be an error with a traceback otherwise."""
    files = authority.issue("server")
    async with serving(server_tls(files)) as port:
        for nonsense in (b"GET / HTTP/1.1\r\nHost: auth\r\n\r\n", bytes(300), b"\x16\x03\x01\xff\xff"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(nonsense)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_SECONDS):
                with contextlib.suppress(ConnectionError):
                    assert not (await reader.read()).startswith(b"HTTP")
            writer.close()
        assert await Client(port, authority.cafile).serial() == serial_in(files)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_who_never_says_hello_is_hung_up_on(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loop that the api runs on; the limit of asyncio itself is a minute."""
    assert HANDSHAKE_SECONDS <= 10
    monkeypatch.setattr("services.api.http.tls.HANDSHAKE_SECONDS", 0.2)
    tls = server_tls(authority.issue("server"))

    async def connect() -> float:
        async with serving(tls) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert await reader.read() == b""
            finally:
                writer.transport.abort()
            return time.monotonic() - began

    with asyncio.Runner(loop_factory=HandshakeLimitingLoop) as runner:
        assert isinstance(runner.get_loop(), uvloop.Loop)
        assert 0.1 < runner.run(connect()) < PATIENCE_SECONDS
