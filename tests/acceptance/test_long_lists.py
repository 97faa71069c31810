"""A list of many keys is whole, and takes nothing from whoever else asks, however slowly it is read."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg

from bench.append import append_all
from bench.sample_keys import SampleKeys
from services.api.key_listing import PAGE_KEYS
from services.api.validation.key_material import Pepper
from tests.acceptance.client import KEYS
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ADMIN_TOKEN, PEPPER, ApiNode, Stack

#: Some 10 MB, more than the system's buffers take from a writer whose reader has stopped.
COUNT = 20_000
SLOW_READERS = 8


def test_a_long_list_is_whole_and_hinders_nobody(stack: Stack) -> None:
    sample = SampleKeys(Pepper(*PEPPER.split(":")))
    created = (sample.created(number) for number in range(COUNT))
    asyncio.run(append_all(stack.kafka, stack.topics.lifecycle.name, created))
    stack.projector()
    api = stack.api()

    everything = [key["id"] for key in api.client.list().raise_for_status().json()]
    # All were created in the same instant: their ids decide.
    assert everything == sorted(sample.key_id(number) for number in range(COUNT))

    with ExitStack() as stalled:
        for _ in range(SLOW_READERS):
            stalled.enter_context(stalled_list(api))
        eventually(lambda: sessions_at_work(stack) == 0, 10, "the lists that nobody reads to hold nothing")

        assert len(api.client.list().raise_for_status().json()) == COUNT
        assert api.client.look_up(sample.key_id(0)).status_code == 200
        assert api.client.accepts(sample.secret(0))
        assert api.client.revoke(sample.key_id(0)).status_code == 200
        assert not api.client.accepts(sample.secret(0))


def stalled_list(api: ApiNode) -> socket.socket:
    """A list whose first page was seen to come, and of which no more is read."""
    address = urlsplit(api.url)
    connection = socket.socket()
    # Before it connects: the window that it offers is smaller than a page.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * PAGE_KEYS)
    connection.connect((address.hostname, address.port))
    head = f"GET {KEYS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    return connection


def sessions_at_work(stack: Stack) -> int:
    """How many sessions in Postgres are in a query or in a transaction."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])
