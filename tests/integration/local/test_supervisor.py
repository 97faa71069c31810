from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services.local.errors import StartFailed
from services.local.service import Service
from services.local.supervisor import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, STABLE_SECONDS, Supervisor
from tests.acceptance.eventually import eventually
from tests.integration.local.stand_ins import REFUSING, STUBBORN, stand_in


class Watch:
    """A supervisor with the time in our hands, and what it said."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.changes = 0
        self.supervisor = Supervisor(self.said.append, self._count, clock=lambda: self.now)

    def _count(self) -> None:
        self.changes += 1


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.supervisor.stop()


def test_what_dies_is_started_again_and_said_so(watch: Watch, tmp_path: Path) -> None:
    service = _started(watch, tmp_path)
    before = service.pid
    _kill(service)
    watch.supervisor.revive()
    assert watch.said == [
        f"api ended: exit code -9, last words 'listening'; its log is {service.log_path}; "
        "starting it again in 0.5 s"
    ]
    watch.supervisor.revive()
    assert not service.is_running
    watch.now += FIRST_DELAY_SECONDS
    watch.supervisor.revive()
    service.wait_ready()
    assert watch.supervisor.pids == {"api": service.pid}
    assert service.pid != before
    assert watch.changes == 1


def test_each_failure_in_a_row_doubles_the_wait(watch: Watch, tmp_path: Path) -> None:
    service = stand_in("api", tmp_path, REFUSING)
    watch.supervisor.start(service)
    for _ in range(8):
        _wait_end(service)
        watch.supervisor.revive()
        watch.now += LONGEST_DELAY_SECONDS - 1
        watch.supervisor.revive()
        watch.now += 1
        watch.supervisor.revive()
    waits = [float(line.split()[-2]) for line in watch.said]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_long_run_wipes_out_the_failures_before_it(watch: Watch, tmp_path: Path) -> None:
    service = _started(watch, tmp_path)
    for _ in range(2):
        watch.now += STABLE_SECONDS
        _kill(service)
        watch.supervisor.revive()
        watch.now += FIRST_DELAY_SECONDS
        watch.supervisor.revive()
        service.wait_ready()
    assert [line.split()[-2] for line in watch.said] == ["0.5", "0.5"]


def test_a_wave_is_ready_when_all_of_it_are(watch: Watch, tmp_path: Path) -> None:
    ready: list[str] = []
    watch.supervisor.start(stand_in("api", tmp_path), stand_in("projector", tmp_path))
    watch.supervisor.wait_ready(10, lambda process: ready.append(process.name))
    assert sorted(ready) == ["api", "projector"]


def test_one_that_refuses_to_start_is_told_before_the_others_are_ready(watch: Watch, tmp_path: Path) -> None:
    never = stand_in("api", tmp_path, "import time; time.sleep(600)")
    watch.supervisor.start(never, stand_in("projector", tmp_path, REFUSING))
    with pytest.raises(StartFailed, match="projector did not start: exit code 2, last words 'bad settings"):
        watch.supervisor.wait_ready(10, lambda _: None)


def test_a_server_that_dies_while_the_services_start_is_told(watch: Watch, tmp_path: Path) -> None:
    kafka = _started(watch, tmp_path, "kafka")
    watch.supervisor.start(stand_in("api", tmp_path, "import time; time.sleep(600)"))
    _kill(kafka)
    with pytest.raises(StartFailed, match="kafka did not start: exit code -9"):
        watch.supervisor.wait_ready(10, lambda _: None)


def test_what_takes_too_long_is_named(watch: Watch, tmp_path: Path) -> None:
    watch.supervisor.start(stand_in("api", tmp_path, "import time; time.sleep(600)"))
    with pytest.raises(StartFailed, match=r"api not ready within 0 s: see .*api\.log"):
        watch.supervisor.wait_ready(0.2, lambda _: None)


def test_the_last_wave_ends_before_the_first_is_asked(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = _started(watch, tmp_path, "kafka")
    api = _started(watch, tmp_path, "api")
    asked: list[bool] = []
    monkeypatch.setattr(kafka, "terminate", lambda: asked.append(api.is_running))
    monkeypatch.setattr(kafka, "wait_stopped", lambda _: kafka.kill())
    watch.supervisor.stop()
    assert asked == [False]


def test_everything_stops_in_time_even_when_nothing_listens_to_reason(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "patience_seconds", 0.5)
    for names in (("kafka", "postgres"), ("api", "projector")):
        watch.supervisor.start(*(stand_in(name, tmp_path, STUBBORN) for name in names))
        watch.supervisor.wait_ready(10, lambda _: None)
    pids = watch.supervisor.pids.values()
    began = time.monotonic()
    watch.supervisor.stop()
    assert time.monotonic() - began < 2.0  # each wave waits once, not each process
    assert not any(psutil.pid_exists(pid) for pid in pids)


def _started(watch: Watch, folder: Path, name: str = "api") -> Service:
    service = stand_in(name, folder)
    watch.supervisor.start(service)
    watch.supervisor.wait_ready(10, lambda _: None)
    return service


def _kill(service: Service) -> None:
    os.kill(service.pid, signal.SIGKILL)
    _wait_end(service)


def _wait_end(service: Service) -> None:
    eventually(lambda: not service.is_running, 10, f"the end of {service.name}")
