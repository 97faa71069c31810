"""The servers of the tests as containers, for `TEST_BACKEND=testcontainers`; needs a Docker engine.

They have the methods of `services.local`'s embedded servers that tests use. Both listen on a port of the
host that is chosen once, so that a killed server is found again where it was.

Not run yet: there was no Docker engine where this was written.
"""

from __future__ import annotations

import socket
from typing import Self

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

KAFKA_IMAGE = "apache/kafka:4.3.1"
POSTGRES_IMAGE = "postgres:18"


class ContainerServer:
    """A container that can be killed, paused and started again with the data it had."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._exists = False

    @property
    def pid(self) -> int:
        """Process id on the engine's host; 0 while it does not run."""
        if not self._exists:
            return 0
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return int(wrapped.attrs["State"]["Pid"])

    def start(self) -> None:
        if self._exists:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._exists = True

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()
        self._container.get_wrapped_container().wait()

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def stop(self) -> None:
        """End it and remove it, with its data."""
        self._container.stop()
        self._exists = False

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Return once it does its work; TimeoutError when that takes too long."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class ContainerKafka(ContainerServer):
    """One broker, configured as the embedded one."""

    def __init__(self) -> None:
        self._port = _free_port()
        settings = {
            "PROCESS_ROLES": "broker,controller",
            "NODE_ID": "1",
            "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "LISTENERS": f"PLAINTEXT://0.0.0.0:{self._port},CONTROLLER://localhost:9093",
            "ADVERTISED_LISTENERS": f"PLAINTEXT://localhost:{self._port}",
            "LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "AUTO_CREATE_TOPICS_ENABLE": "false",
            "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "BROKER_SESSION_TIMEOUT_MS": "3000",
            "BROKER_HEARTBEAT_INTERVAL_MS": "500",
            "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        }
        container = DockerContainer(KAFKA_IMAGE).with_bind_ports(self._port, self._port)
        for name, value in settings.items():
            container.with_env(f"KAFKA_{name}", value)
        super().__init__(container)

    @property
    def bootstrap_servers(self) -> str:
        return f"localhost:{self._port}"

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        started = LogMessageWaitStrategy("Kafka Server started")
        started.with_startup_timeout(int(timeout_seconds)).wait_until_ready(self._container)


class ContainerPostgres(ContainerServer):
    """One PostgreSQL server."""

    def __init__(self) -> None:
        container = PostgresContainer(POSTGRES_IMAGE, driver=None).with_bind_ports(5432, _free_port())
        super().__init__(container)
        self._postgres = container

    @property
    def database_url(self) -> str:
        return str(self._postgres.get_connection_url())

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        self._postgres._connect()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
