"""A Postgres that neither answers nor hangs up, as a paused machine or a black hole in the network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from services.api.errors import ReadModelUnavailable
from services.api.read_models import ANSWER_SECONDS, PROBE_SECONDS, PostgresReadModels
from services.local.postgres import EmbeddedPostgres

pytestmark = pytest.mark.anyio


async def test_reads_are_given_up_in_time(own_postgres: EmbeddedPostgres) -> None:
    read_models = PostgresReadModels(own_postgres.database_url, "keys.lifecycle")
    await read_models.open()
    with pytest.raises(ReadModelUnavailable, match="being rebuilt"):
        await read_models.known_log()
    with frozen(own_postgres):
        began = time.monotonic()
        assert not await read_models.is_reachable()
        assert time.monotonic() - began < PROBE_SECONDS + 1
    await read_models.close()


async def test_a_database_that_never_answers_holds_one_connection(own_postgres: EmbeddedPostgres) -> None:
    """/ready is asked again and again, and the pool is small: admins need the rest of it."""
    read_models = PostgresReadModels(own_postgres.database_url, "keys.lifecycle")
    await read_models.open()
    with pytest.raises(ReadModelUnavailable, match="being rebuilt"):
        await read_models.known_log()
    with frozen(own_postgres):
        for _ in range(3):
            assert not await read_models.is_reachable()
        assert len([task for task in asyncio.all_tasks() if "_known_log" in repr(task.get_coro())]) == 1
    began = time.monotonic()
    with pytest.raises(ReadModelUnavailable, match="being rebuilt"):
        await read_models.known_log()
    assert time.monotonic() - began < ANSWER_SECONDS
    await read_models.close()


@contextmanager
def frozen(postgres: EmbeddedPostgres) -> Iterator[None]:
    server = psutil.Process(postgres.pid)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()
