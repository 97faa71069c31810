"""The processes as users run them: api nodes and projectors around one log and one database."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil
from prometheus_client.parser import text_string_to_metric_families

from events.remembered import REMEMBER_SECONDS
from events.settings import KafkaSettings
from events.topics import Topics
from services.api.follower_process import NAME as FOLLOWER
from services.local.errors import StartFailed
from services.local.ports import LOOPBACK, free_ports
from services.local.service import Service
from tests.acceptance.client import ApiClient, plain_http
from tests.acceptance.eventually import eventually

ADMIN_TOKEN = "an-admin-token-for-tests-only-7f3a"
PEPPER = "p1:a-pepper-for-tests-only-5d1c9e7b42a8f603"

START_TIMEOUT_SECONDS = 30.0
EXIT_TIMEOUT_SECONDS = 15.0

ServiceT = TypeVar("ServiceT", bound="StackService")


class StackService(Service):
    """A service of the stack: a child process with a log of its own and an HTTP port."""

    def __init__(
        self,
        name: str,
        folder: Path,
        arguments: list[str],
        environment: Mapping[str, str],
        url: str,
        operations_url: str,
        ready_path: str,
    ) -> None:
        self.url = url
        self._operations = plain_http(operations_url)
        self._scraped_at = -REMEMBER_SECONDS
        command = [sys.executable, "-m", "services.cli", *arguments]
        super().__init__(name, folder, command, environment, f"{operations_url}{ready_path}")

    def wait_exit(self) -> int:
        """The exit code, once it has ended by itself."""
        return eventually(
            lambda: None if self.exit_code is None else (self.exit_code,),
            EXIT_TIMEOUT_SECONDS,
            f"the end of {self.name}",
        )[0]

    def last_words(self) -> str:
        """The last line of this run's log."""
        return self.log_of_this_run().rstrip().rpartition("\n")[2]

    def says(self, text: str) -> None:
        """Wait until this run has logged the text."""
        eventually(
            lambda: text in self.log_of_this_run(), START_TIMEOUT_SECONDS, f"{text!r} from {self.name}"
        )

    def metric(self, name: str, **labels: str) -> float:
        """The sample of that name, summed over all labels that are not named, as it stands now."""
        # What was told within a second would be told again.
        time.sleep(max(0.0, self._scraped_at + REMEMBER_SECONDS - time.monotonic()))
        text = self._operations.get("/metrics").raise_for_status().text
        self._scraped_at = time.monotonic()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


class ApiNode(StackService):
    """One api process and its workers: a node."""

    def __init__(self, name: str, folder: Path, workers: int, environment: Mapping[str, str]) -> None:
        (port,) = free_ports(1)
        arguments = ["api", "--host", LOOPBACK, "--port", str(port), "--workers", str(workers)]
        url = f"{'https' if 'TLS_CERTFILE' in environment else 'http'}://{LOOPBACK}:{port}"
        own_port = environment.get("OPERATIONS_PORT")
        operations_url = f"http://{LOOPBACK}:{own_port}" if own_port else url
        super().__init__(name, folder, arguments, environment, url, operations_url, "/health")
        self.workers = workers
        self.client = ApiClient(self.url, ADMIN_TOKEN)

    def wait_ready(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        super().wait_ready(timeout_seconds)
        eventually(
            lambda: self.metric("hokusai_api_workers") == self.workers,
            timeout_seconds,
            f"{self.workers} workers of {self.name}",
        )

    def pause(self) -> None:
        """The whole node: with its workers, where it has several, and its follower."""
        super().pause()
        for part in self.parts():
            with contextlib.suppress(psutil.NoSuchProcess):
                part.suspend()

    def resume(self) -> None:
        for part in self.parts():
            with contextlib.suppress(psutil.NoSuchProcess):
                part.resume()
        super().resume()

    def parts(self) -> list[psutil.Process]:
        """The processes that the node has started: workers, where it has several, and its follower."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child for child in psutil.Process(self.pid).children() if _is_part(child)]
        return []

    def worker_processes(self) -> list[psutil.Process]:
        """Those of the workers that live, where there are several."""
        return [part for part in self.parts() if part.name() != FOLLOWER]

    def follower_process(self) -> psutil.Process:
        """That of the node's follower."""
        return eventually(
            lambda: next((part for part in self.parts() if part.name() == FOLLOWER), None),
            START_TIMEOUT_SECONDS,
            f"the follower of {self.name}",
        )


def _is_part(child: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline())
    return False


class Keeper(StackService):
    """One process that keeps rows in Postgres: a projector, the projector's windows, or billing."""

    def __init__(self, name: str, folder: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
        (port,) = free_ports(1)
        environment = {**environment, "METRICS_PORT": str(port), "METRICS_HOST": LOOPBACK}
        url = f"http://{LOOPBACK}:{port}"
        super().__init__(name, folder, arguments, environment, url, url, "/ready")


class Stack:
    """One log and one database, and the processes that a test runs around them; all end with it."""

    def __init__(self, folder: Path, bootstrap_servers: str, database_url: str) -> None:
        self.folder = folder
        self.kafka = KafkaSettings(KAFKA_BOOTSTRAP_SERVERS=bootstrap_servers)
        self.topics = Topics(KAFKA_TOPIC_PREFIX=f"acceptance-{uuid.uuid4().hex[:12]}.")
        self.database_url = database_url
        #: What every process is started with.
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": self.topics.prefix,
            "DATABASE_URL": database_url,
            "ADMIN_TOKEN": ADMIN_TOKEN,
            "KEY_PEPPERS": PEPPER,
            "BCRYPT_ROUNDS": "4",
        }
        self._services: list[StackService] = []

    def api(self, workers: int = 1, *, wait: bool = True, **changes: str) -> ApiNode:
        """A new node, with some settings changed."""
        name = f"api-{len(self._services)}"
        return self._started(ApiNode(name, self.folder, workers, {**self.settings, **changes}), wait)

    def projector(self, *, wait: bool = True, **changes: str) -> Keeper:
        """A new projector, with some settings changed."""
        return self._keeper("projector", ["projector"], wait, changes)

    def windows(self, *, wait: bool = True, **changes: str) -> Keeper:
        """A new windows process of the projector."""
        return self._keeper("windows", ["projector", "--part", "windows"], wait, changes)

    def billing(self, *, wait: bool = True, **changes: str) -> Keeper:
        """A new billing process."""
        return self._keeper("billing", ["billing"], wait, changes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End all that runs."""
        for service in self._services:
            service.kill()

    def _keeper(self, what: str, arguments: list[str], wait: bool, changes: Mapping[str, str]) -> Keeper:
        name = f"{what}-{len(self._services)}"
        return self._started(Keeper(name, self.folder, arguments, {**self.settings, **changes}), wait)

    def _started(self, service: ServiceT, wait: bool) -> ServiceT:
        # Before it starts: whatever happens then, it is ended.
        self._services.append(service)
        service.start()
        if wait:
            try:
                service.wait_ready(START_TIMEOUT_SECONDS)
            except StartFailed as failure:
                raise AssertionError(f"{failure}\n{service.log_of_this_run()[-4000:]}") from None
        return service
