"""What every program that we run can count on, and we on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services.local.errors import StartFailed
from services.local.service import Service
from tests.acceptance.eventually import eventually
from tests.integration.local.stand_ins import POLITE, REFUSING, STUBBORN, WITH_WORKERS, stand_in, worker_pids


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with stand_in("api", tmp_path) as service:
        yield service


def test_it_is_ready_when_it_answers_and_gone_when_it_is_stopped(service: Service) -> None:
    assert service.is_ready()
    pid = service.pid
    service.stop()
    assert not psutil.pid_exists(pid)
    assert not service.is_ready()
    assert service.exit_code == -signal.SIGTERM


def test_it_can_be_killed_and_started_again(service: Service) -> None:
    before = service.pid
    service.kill()
    assert service.exit_code == -signal.SIGKILL
    service.start()
    service.wait_ready()
    assert service.pid != before


def test_a_second_start_changes_nothing(service: Service) -> None:
    before = service.pid
    service.start()
    assert service.pid == before


def test_it_answers_nothing_while_it_is_paused(service: Service) -> None:
    service.pause()
    assert not service.is_ready()
    service.resume()
    service.wait_ready()


def test_a_paused_one_can_still_stop_by_itself(tmp_path: Path) -> None:
    with stand_in("api", tmp_path, POLITE) as service:
        service.pause()
        service.stop()
        assert service.exit_code == 0


def test_a_stubborn_one_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "patience_seconds", 0.2)
    with stand_in("api", tmp_path, STUBBORN) as service:
        service.stop()
        assert service.exit_code == -signal.SIGKILL


def test_one_that_refuses_to_start_is_quoted(tmp_path: Path) -> None:
    service = stand_in("api", tmp_path, REFUSING)
    service.start()
    with pytest.raises(StartFailed) as failure:
        service.wait_ready()
    assert str(failure.value) == (
        "api did not start: exit code 2, last words 'bad settings: ADMIN_TOKEN is missing'; "
        f"its log is {service.log_path}"
    )


def test_one_that_cannot_be_run_is_quoted(tmp_path: Path) -> None:
    service = Service("api", tmp_path, ["/missing/program"], {}, "http://127.0.0.1:1/")
    service.start()
    with pytest.raises(StartFailed, match="/missing/program cannot be run: No such file or directory"):
        service.wait_ready()


def test_one_that_takes_too_long_is_said(tmp_path: Path) -> None:
    service = stand_in("api", tmp_path, "import time; time.sleep(600)")
    service.start()
    with pytest.raises(StartFailed, match="api was not ready within 0 s"):
        service.wait_ready(0.2)
    service.kill()


def test_the_words_of_an_earlier_run_are_not_quoted(tmp_path: Path) -> None:
    refusing = stand_in("api", tmp_path, REFUSING)
    refusing.start()
    eventually(lambda: not refusing.is_running, 10, "the end")
    with stand_in("api", tmp_path) as service:
        assert service.log_of_this_run() == "listening\n"
    assert "bad settings" in service.log_path.read_text()


def test_its_workers_do_not_outlive_it(tmp_path: Path) -> None:
    with stand_in("api", tmp_path, WITH_WORKERS) as service:
        workers = worker_pids(service)
        service.kill()
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_workers_that_a_crash_left_behind_are_ended_before_the_next_start(tmp_path: Path) -> None:
    with stand_in("api", tmp_path, WITH_WORKERS) as service:
        workers = worker_pids(service)
        os.kill(service.pid, signal.SIGKILL)
        eventually(lambda: not service.is_running, 10, "the end")
        assert all(psutil.pid_exists(pid) for pid in workers)
        service.start()
        eventually(lambda: not any(_runs(pid) for pid in workers), 10, "the end of the workers")


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The kernel's parent-death signal comes when the thread that forked ends."""
    service = stand_in("api", tmp_path)
    starter = threading.Thread(target=service.__enter__)
    starter.start()
    starter.join()
    time.sleep(0.1)  # for a signal that must not come there is nothing to wait for
    assert service.is_running
    service.stop()


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)])
    log = tmp_path / "logs" / "api.log"
    eventually(lambda: log.exists() and log.read_text(), 10, "the child")
    child = psutil.Process(int((tmp_path / "run" / "api.pid").read_text().split()[0]))
    parent.kill()
    parent.wait()
    child.wait(10)


def test_one_that_a_killed_parent_left_behind_is_ended_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.local.leftovers._PATIENCE_SECONDS", 0.2)
    left_behind = stand_in("api", tmp_path, STUBBORN)
    left_behind.start()
    left_behind.wait_ready()
    with stand_in("api", tmp_path) as service:
        assert not left_behind.is_running
        assert service.is_running


def test_another_process_that_got_its_id_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "api.pid").write_text(f"{os.getpid()} 1000000000.0")
    with stand_in("api", tmp_path):
        pass


_PARENT = """
import sys, time
from pathlib import Path
from tests.integration.local.stand_ins import stand_in
service = stand_in("api", Path(sys.argv[1]))
service.start()
time.sleep(600)
"""


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
