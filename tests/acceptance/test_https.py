"""The api over HTTPS, and operations on a port of their own, as operators run them."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509

from services.local.ports import LOOPBACK, free_ports, is_free
from tests.acceptance.client import KEYS, VALIDATE
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ADMIN_TOKEN, ApiNode, Stack
from tests.certificates import Authority, Files

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def client(node: ApiNode, authority: Authority, own: Files | None = None) -> Iterator[httpx.Client]:
    """Somebody who trusts the authority alone."""
    context = ssl.create_default_context(cafile=str(authority.cafile))
    if own is not None:
        context.load_cert_chain(own.certfile, own.keyfile)
    with httpx.Client(base_url=node.url, verify=context, trust_env=False) as http:
        yield http


def a_free_port() -> str:
    return str(*free_ports(1))


def serial(node: ApiNode) -> int:
    place = urlsplit(node.url)
    shown = ssl.get_server_certificate((place.hostname or "", place.port or 0), timeout=10)
    return x509.load_pem_x509_certificate(shown.encode()).serial_number


def serial_in(files: Files) -> int:
    return x509.load_pem_x509_certificates(files.certfile.read_bytes())[0].serial_number


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_are_created_and_validated_over_https_while_the_certificate_is_renewed(
    stack: Stack, authority: Authority, workers: int
) -> None:
    files = authority.issue("server", LOOPBACK, password="correct-horse")
    node = stack.api(
        workers=workers,
        TLS_CERTFILE=str(files.certfile),
        TLS_KEYFILE=str(files.keyfile),
        TLS_KEYFILE_PASSWORD="correct-horse",
    )
    with client(node, authority) as http:
        created = http.post(KEYS, json={"name": "tls", "service_id": "platform"}, headers=ADMIN)
        assert created.status_code == 201
        key = {"Authorization": f"Bearer {created.json()['api_key']}"}
        assert http.post(VALIDATE, headers=key).status_code == 200

        before = [child.pid for child in node.worker_processes()]
        first = serial(node)
        authority.issue("server", LOOPBACK, password="correct-horse")
        os.kill(node.pid, signal.SIGHUP)
        # Each of the workers shows it: ten connections in a row.
        eventually(
            lambda: {serial(node) for _ in range(10)} == {serial_in(files)} != {first}, 10, "the new one"
        )
        # It took no restart, and the connection of before goes on.
        assert [child.pid for child in node.worker_processes()] == before
        assert http.post(VALIDATE, headers=key).status_code == 200
    place = urlsplit(node.url)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{place.netloc}/health")
    node.terminate()
    assert node.wait_exit() == 0, node.log_of_this_run()
    assert "correct-horse" not in node.log_of_this_run()


def test_callers_without_a_certificate_are_refused_and_probes_have_a_port_of_their_own(
    stack: Stack, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority(tmp_path, "clients")
    files = authority.issue("server", LOOPBACK)
    node = stack.api(
        TLS_CERTFILE=str(files.certfile),
        TLS_KEYFILE=str(files.keyfile),
        TLS_CLIENT_CAFILE=str(clients.cafile),
        OPERATIONS_PORT=a_free_port(),
    )
    with client(node, authority, clients.issue("known")) as http:
        assert http.get(KEYS, headers=ADMIN).status_code in (200, 503)
        assert http.get("/metrics").status_code == 404
    for own in (None, authority.issue("stranger")):
        with client(node, authority, own) as http, pytest.raises(httpx.TransportError):
            http.get("/health")
    assert node.metric("hokusai_api_workers") == 1


def test_whichever_worker_dies_operations_are_answered(stack: Stack) -> None:
    port = a_free_port()
    node = stack.api(workers=2, OPERATIONS_PORT=port)
    for path in ("/ready", "/metrics"):
        assert node.client.get(path).status_code == 404
    for _ in range(2):
        victim = node.worker_processes()[0]
        victim.kill()
        eventually(lambda: victim not in node.worker_processes(), 10, "its end")  # noqa: B023
        assert httpx.get(f"http://{LOOPBACK}:{port}/health").status_code == 200
        eventually(lambda: node.metric("hokusai_api_workers") == 2, 20, "another worker")
        assert {httpx.get(f"http://{LOOPBACK}:{port}/health").status_code for _ in range(10)} == {200}
    node.terminate()
    assert node.wait_exit() == 0, node.log_of_this_run()
    assert is_free(int(port))


def test_files_that_cannot_be_used_are_told_with_every_other_problem(stack: Stack, tmp_path: Path) -> None:
    node = stack.api(
        wait=False, TLS_CERTFILE=str(tmp_path / "nothing"), BCRYPT_ROUNDS="3", USAGE_TOKEN=ADMIN_TOKEN
    )
    assert node.wait_exit() == 2
    said = node.last_words()
    for problem in ("TLS_CERTFILE cannot be loaded", "BCRYPT_ROUNDS: ", "ADMIN_TOKEN and USAGE_TOKEN: "):
        assert problem in said
    assert ADMIN_TOKEN not in said
