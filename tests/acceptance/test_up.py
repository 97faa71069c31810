"""`hokusai-auth up`, as somebody runs it who has nothing but this machine."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest

from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from services.local.ports import LOOPBACK, free_ports
from tests.acceptance.eventually import eventually

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
SERVICES = ("api", "projector", "windows", "billing")


class Up:
    """One run of the command; it is killed in the end, whatever the test did with it."""

    def __init__(self, folder: Path, port: int | None = None, workers: int = 1, **environment: str) -> None:
        [self.port] = [port] if port else free_ports(1)
        self.data = folder / "data"
        self._out, self._err = folder / "out", folder / "err"
        self._command = [sys.executable, "-m", "services.cli", "up", "--port", str(self.port)]
        self._command += ["--data-dir", str(self.data), "--workers", str(workers)]
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> Self:
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=out, stderr=err)
        return self

    def __exit__(self, *_: object) -> None:
        left = self.family() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(left, timeout=STOP_SECONDS)

    @property
    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def said(self) -> str:
        return self._out.read_text()

    @property
    def complained(self) -> str:
        return self._err.read_text()

    @property
    def stack(self) -> dict[str, Any]:
        stack: dict[str, Any] = json.loads((self.data / "stack.json").read_text())
        return stack

    def wait_ready(self) -> Self:
        eventually(lambda: "Ctrl-C" in self.said or self._has_ended, READY_SECONDS, "the stack")
        assert self.process.poll() is None, self.complained
        return self

    def family(self) -> list[psutil.Process]:
        """Everything that it runs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop_by(self, number: signal.Signals) -> None:
        """It ends cleanly and in time, and nothing that it ran is left."""
        family = self.family()
        self.process.send_signal(number)
        assert self.process.wait(STOP_SECONDS) == 0
        assert not [process for process in family if _runs(process)]
        assert not (self.data / "stack.json").exists()

    def refusal(self) -> str:
        """The one sentence with which it does not start."""
        assert self.process.wait(READY_SECONDS) == 1
        [sentence] = self.complained.splitlines()
        return sentence

    def create_key(self) -> dict[str, Any]:
        """What the command answers that it tells people to try."""
        [line] = [line for line in self.said.splitlines() if line.startswith("curl")]
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
        created: dict[str, Any] = json.loads(answer)
        return created

    def keys(self) -> list[str]:
        token = (self.data / "admin_token").read_text()
        bearer = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{self.stack['api_url']}/api/v1/keys", headers=bearer)
        return [key["name"] for key in answer.raise_for_status().json()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that is up, for tests that leave it so."""
    with Up(tmp_path_factory.mktemp("up")) as up:
        yield up.wait_ready()


def test_it_is_ready_and_tells_where_everything_is(running: Up) -> None:
    stack = running.stack
    assert stack["api_url"] == f"http://{LOOPBACK}:{running.port}"
    assert httpx.get(f"{stack['api_url']}/ready").status_code == 200
    for name in SERVICES:
        assert httpx.get(f"{stack[f'{name}_url']}/ready").status_code == 200, name
    assert stack["supervisor_pid"] == running.process.pid
    assert stack["pids"].keys() == {"kafka", "postgres", *SERVICES}
    assert all(psutil.Process(pid).ppid() == running.process.pid for pid in stack["pids"].values())


def test_only_the_owner_can_read_the_secrets(running: Up) -> None:
    for name in ("admin_token", "key_peppers", "stack.json"):
        assert stat.S_IMODE((running.data / name).stat().st_mode) == 0o600
    assert (running.data / "admin_token").read_text() in running.said
    for log in (running.data / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert (running.data / "admin_token").read_text() not in text
        assert (running.data / "key_peppers").read_text() not in text


def test_the_line_that_it_prints_creates_a_key(running: Up) -> None:
    assert running.create_key()["api_key"].startswith("hk_live_")


def test_a_second_one_on_the_same_folder_is_refused(running: Up, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(running.data)
    with Up(tmp_path) as second:
        assert second.refusal() == f"hokusai-auth: another `hokusai-auth up` is using {second.data}"


def test_a_port_in_use_is_named(running: Up, tmp_path: Path) -> None:
    with Up(tmp_path, port=running.port) as second:
        assert second.refusal() == (
            f"hokusai-auth: port {running.port} is in use by another program: choose another one with --port"
        )


@pytest.mark.parametrize(
    "names", [SERVICES, ("postgres",), ("kafka",)], ids=["services", "postgres", "kafka"]
)
def test_what_dies_is_started_again_and_said_so(running: Up, names: tuple[str, ...]) -> None:
    before = running.stack["pids"]
    for name in names:
        psutil.Process(before[name]).kill()

    def are_others() -> bool:
        return all(running.stack["pids"][name] != before[name] for name in names)

    eventually(are_others, READY_SECONDS, f"others in the place of {', '.join(names)}")
    eventually(lambda: _is_ready(running), READY_SECONDS, "ready services")
    for name in names:
        ended = f"{name} ended: exit code -9"
        [line] = [line for line in running.said.splitlines() if line.startswith(ended)]
        assert str(running.data / "logs" / f"{name}.log") in line


def test_it_can_be_stopped_while_it_starts(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        eventually(lambda: "kafka" in up.said, READY_SECONDS, "the start of kafka")
        up.stop_by(signal.SIGINT)
    assert up.complained == ""


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_goes_on_and_stops_cleanly(
    tmp_path: Path,
) -> None:
    with Up(tmp_path, workers=2) as up:
        up.wait_ready().create_key()
        family = up.family()
        up.process.kill()
        _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
        assert alive == []
    with Up(tmp_path, workers=2) as again:
        assert again.wait_ready().keys() == ["my first key"]
        again.stop_by(signal.SIGINT)


def test_servers_of_the_environment_replace_the_embedded_ones(
    tmp_path: Path, kafka: EmbeddedKafka, topics: Topics, database_url: str
) -> None:
    with Up(
        tmp_path,
        KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers,
        KAFKA_TOPIC_PREFIX=topics.prefix,
        DATABASE_URL=database_url,
        ADMIN_TOKEN="the-token-of-the-environment",
    ) as up:
        stack = up.wait_ready().stack
        assert stack["pids"].keys() == set(SERVICES)
        assert stack["kafka_bootstrap_servers"] == kafka.bootstrap_servers
        assert stack["database_url"] == database_url
        assert not (up.data / "admin_token").exists()
        up.stop_by(signal.SIGTERM)


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with Up(tmp_path) as up:
        assert up.refusal() == f"hokusai-auth: the data folder {up.data} cannot be used: File exists"


@pytest.mark.parametrize(
    ("server", "why"),
    [
        ("kafka", "No readable meta.properties"),
        ("postgres", "could not access the server configuration file"),
    ],
)
def test_a_broken_folder_is_told_in_the_servers_words(tmp_path: Path, server: str, why: str) -> None:
    broken = {"kafka": "data/kafka/data", "postgres": "data/postgres"}
    (tmp_path / broken[server]).mkdir(parents=True)
    with Up(tmp_path) as up:
        refusal = up.refusal()
    assert refusal.startswith(f"hokusai-auth: {server} did not start: exit code ")
    assert why in refusal
    assert str(up.data / "logs" / f"{server}.log") in refusal


def test_a_service_that_refuses_to_start_is_quoted(tmp_path: Path) -> None:
    with Up(tmp_path, ADMIN_TOKEN="short") as up:
        assert "hokusai-auth: api did not start: exit code 2, last words " in up.refusal()
        assert "ADMIN_TOKEN" in up.complained


def test_an_unreachable_registry_is_one_sentence(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    nowhere = f"http://{LOOPBACK}:{nobody}"
    with Up(
        tmp_path, HOKUSAI_CACHE_DIR=str(tmp_path / "cache"), HTTPS_PROXY=nowhere, https_proxy=nowhere
    ) as up:
        assert f"is not in {tmp_path / 'cache'} and could not be fetched" in up.refusal()


def test_a_kafka_that_does_not_answer_is_said(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    with Up(tmp_path, KAFKA_BOOTSTRAP_SERVERS=f"{LOOPBACK}:{nobody}") as up:
        assert up.refusal().startswith("hokusai-auth: ")


def _is_ready(up: Up) -> bool:
    return all(httpx.get(f"{up.stack[f'{name}_url']}/ready").status_code == 200 for name in SERVICES)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
