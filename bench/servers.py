"""What a bench runs: one Kafka, one Postgres, and our services around them as users run them."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from bench.machine import Cores
from bench.progress import wait_until
from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from events.topics import Topics
from services.api.follower_process import NAME as FOLLOWER
from services.api.validation.key_material import Pepper
from services.local.kafka import EmbeddedKafka
from services.local.ports import LOOPBACK, free_ports
from services.local.postgres import EmbeddedPostgres
from services.local.service import Service

ADMIN_TOKEN = "an-admin-token-for-benches-7f3a"  # noqa: S105
PEPPER = Pepper("bench", "a-pepper-for-benches-only-5d1c9e7b42a8f603")
#: Nobody listens there: a service that is started with it has to do without Postgres.
NO_DATABASE = f"postgresql://nobody@{LOOPBACK}:1/none"

#: Ten million keys are read from the log before a node answers.
START_SECONDS = 1800.0
#: What a server may use of a fifth of a second and still be idle: its timers.
IDLE_SECONDS = 0.03


class BenchService(Service):
    """A server of its own process and port."""

    def __init__(
        self,
        name: str,
        folder: Path,
        command: list[str],
        environment: Mapping[str, str],
        port: int,
        path: str,
    ) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self.port = port
        super().__init__(name, folder, command, environment, f"{self.url}{path}")

    def processes(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Those that answer: the children where it has several workers, else itself."""
        return workers_of(psutil.Process(self.pid))

    def follower(self) -> psutil.Process:
        """The process of a node of the api that reads the log."""
        children = psutil.Process(self.pid).children()
        (follower,) = (child for child in children if child.name() == FOLLOWER)
        return follower

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(time.user + time.system for time in times)

    def wait_idle(self) -> None:
        """Until it has used next to no processor time for a fifth of a second."""
        wait_until(lambda: self._seconds_used_in(0.2) < IDLE_SECONDS, f"{self.name} to be idle")

    def _seconds_used_in(self, seconds: float) -> float:
        before = self.cpu_seconds()
        time.sleep(seconds)
        return self.cpu_seconds() - before


@dataclass(frozen=True, slots=True)
class Place:
    """Topics and a database that nobody else uses."""

    folder: Path
    cores: Cores
    kafka: KafkaSettings
    topics: Topics
    database_url: str
    services: list[BenchService] = field(default_factory=list)

    def environment(self, **changes: str) -> dict[str, str]:
        """What every service is started with."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": self.topics.prefix,
            "DATABASE_URL": self.database_url,
            "ADMIN_TOKEN": ADMIN_TOKEN,
            "KEY_PEPPERS": f"{PEPPER.name}:{PEPPER.secret}",
            "LOG_LEVEL": "WARNING",
            **changes,
        }

    @contextmanager
    def api(self, workers: int = 1, **changes: str) -> Iterator[BenchService]:
        """A node on the server's core, ready; `changes` are settings."""
        (port,) = free_ports(1)
        command = ["api", "--host", LOOPBACK, "--port", str(port), "--workers", str(workers)]
        command = self.cores.pinned([sys.executable, "-m", "services.cli", *command])
        with self._running("api", command, self.environment(**changes), port, "/health") as service:
            wait_until(lambda: _workers(service) == workers, "every worker of the node")
            yield service

    @contextmanager
    def keeper(self, *arguments: str, **changes: str) -> Iterator[BenchService]:
        """`projector`, `projector --part windows` or `billing`, on any core, ready."""
        (port,) = free_ports(1)
        command = self.cores.unpinned([sys.executable, "-m", "services.cli", *arguments])
        environment = self.environment(METRICS_PORT=str(port), METRICS_HOST=LOOPBACK, **changes)
        with self._running(arguments[-1], command, environment, port, "/health") as service:
            yield service

    @contextmanager
    def python(self, module: str, *arguments: str, workers: int = 1) -> Iterator[BenchService]:
        """A server of ours, `python -m module port workers ...`, on the server's core, ready."""
        (port,) = free_ports(1)
        command = self.cores.pinned([sys.executable, "-m", module, str(port), str(workers), *arguments])
        with self._running(module, command, {}, port, "/") as service:
            wait_until(lambda: len(service.workers()) == workers, "every worker of the server")
            service.wait_idle()  # nobody tells which of them answer already
            yield service

    @contextmanager
    def _running(
        self, what: str, command: list[str], environment: Mapping[str, str], port: int, path: str
    ) -> Iterator[BenchService]:
        name = f"{what}-{uuid.uuid4().hex[:8]}"
        service = BenchService(name, self.folder, command, environment, port, path)
        try:
            service.start()
            service.wait_ready(timeout_seconds=START_SECONDS)
            yield service
            service.stop()
        finally:
            service.kill()


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """The processes that answer, of a server with this one.

    Neither a node's follower nor what Python starts beside its processes answers anybody; one that was killed
    only waits to be noticed.
    """
    workers = []
    for child in parent.children():
        with suppress(psutil.NoSuchProcess):  # a zombie's command line, for one
            is_tracker = "resource_tracker" in " ".join(child.cmdline())
            if child.name() != FOLLOWER and not is_tracker:
                workers.append(child)
    return workers or [parent]


def _workers(api: BenchService) -> int:
    """How many of a node answer; the first that does speaks for all."""
    with urllib.request.urlopen(f"{api.url}/metrics") as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    return int(sum(float(line.split()[1]) for line in lines if line.startswith("hokusai_api_workers ")))


class Servers:
    """Kafka and Postgres for one bench, in a temporary folder; all ends with it."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._opened = ExitStack()

    def place(self) -> Place:
        """A new one, with all topics made."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        kafka = KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": self._kafka.bootstrap_servers})
        topics = Topics.from_environment({"KAFKA_TOPIC_PREFIX": f"{name}."})
        asyncio.run(apply_topics(kafka, topics))
        with psycopg.connect(self._postgres.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        database_url = urlsplit(self._postgres.database_url)._replace(path=f"/{name}").geturl()
        return Place(self._folder, self._cores, kafka, topics, database_url)

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="hokusai-bench-")))
            self._kafka = opened.enter_context(EmbeddedKafka(self._folder))
            self._postgres = opened.enter_context(EmbeddedPostgres(self._folder))
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
