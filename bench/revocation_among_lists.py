"""How long a revocation takes while lists of all keys are read from the same workers."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

from bench.append import append_all
from bench.command import Bench
from bench.figure import Figure, Goal, percentile
from bench.load import WrongAnswers
from bench.probe import revoke
from bench.progress import applied, follow, wait_until
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import ADMIN_TOKEN, PEPPER, BenchService

KEYS = 100_000
WORKERS = 2
LISTS = 4
REVOCATIONS = 200
PIECE_BYTES = 64 * 1024
#: A slow reader takes a piece, then waits so long: half a megabyte a second, more than a minute a list.
SLOW_SECONDS = 0.125


def among_lists(bench: Bench, report: Report) -> None:
    """DELETE sent -> answered: alone, and while four lists are read fast or slowly, again and again."""
    keys = SampleKeys(PEPPER)
    key_count, count = bench.scaled(KEYS, 5000), bench.scaled(REVOCATIONS, 10)
    place = bench.servers.place()
    topic = place.topics.lifecycle.name
    records = asyncio.run(append_all(place.kafka, topic, map(keys.created, range(key_count))))
    key_ids = map(keys.key_id, range(key_count))

    def revoke_some() -> Figure:
        took_ms = [revoke(api, next(key_ids)).took_ms for _ in range(count)]
        return Figure([percentile(took_ms, 99)])

    what = "revoke, DELETE sent -> answered, p99"
    lists = f"{LISTS} lists of {key_count:,} keys"
    with (
        psycopg.connect(place.database_url, autocommit=True) as database,
        place.keeper("projector"),
        place.api(WORKERS) as api,
    ):
        follow(lambda: applied(database, "projector", topic), records)
        revoke_some()  # a worker's first append takes longer
        report.add(f"{what}, nobody else", revoke_some(), "ms", note=f"{count} revocations each")
        for how, pause_seconds in (("fast", 0.0), ("slowly", SLOW_SECONDS)):
            with _lists(api, pause_seconds) as readers:
                figure = revoke_some()
            note = f"{sum(reader.whole for reader in readers)} lists read to their end meanwhile"
            report.add(f"{what}, {lists} read {how}", figure, "ms", Goal(at_most=100), note)


@contextmanager
def _lists(api: BenchService, pause_seconds: float) -> Iterator[list[_ListReader]]:
    """Readers that have all begun; each begins again at the end of its list, until this ends."""
    with ThreadPoolExecutor(LISTS) as threads:
        readers = [_ListReader(api, pause_seconds) for _ in range(LISTS)]
        reading: list[Future[None]] = [threads.submit(reader.run) for reader in readers]
        try:
            wait_until(
                lambda: all(reader.has_begun for reader in readers) or any(map(Future.done, reading)),
                "all lists",
            )
            yield readers
        finally:
            for reader in readers:
                reader.stop()
        for each in reading:
            each.result()


class _ListReader:
    """Reads `GET /api/v1/keys` over and over, as fast as it can or with pauses."""

    def __init__(self, api: BenchService, pause_seconds: float) -> None:
        self._place = urlsplit(api.url).netloc
        self._pause_seconds = pause_seconds
        self._stopped = threading.Event()
        self.has_begun = False
        #: Lists that were read to their end.
        self.whole = 0

    def run(self) -> None:
        """Until it is stopped; raises `WrongAnswers` where a list is no list."""
        while not self._stopped.is_set():
            connection = http.client.HTTPConnection(self._place, timeout=30)
            try:
                connection.request("GET", "/api/v1/keys", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
                self._read(connection.getresponse())
            finally:
                connection.close()

    def stop(self) -> None:
        """It leaves its list after the next piece."""
        self._stopped.set()

    def _read(self, answer: http.client.HTTPResponse) -> None:
        if answer.status != http.HTTPStatus.OK:
            raise WrongAnswers(f"a list was answered with {answer.status} {answer.read()[:200]!r}")
        last = b""
        while piece := answer.read(PIECE_BYTES):
            self.has_begun, last = True, piece
            if self._stopped.is_set():
                return
            time.sleep(self._pause_seconds)
        if not last.endswith(b"]"):
            raise WrongAnswers(f"a list ends with {last[-20:]!r}")
        self.whole += 1
