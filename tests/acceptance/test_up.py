"""`hokusai-auth up` while it runs: where everything is, who may read it, what becomes of the dead."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from services.local.ports import LOOPBACK
from tests.acceptance.eventually import eventually
from tests.acceptance.up import READY_SECONDS, SERVICES, Up


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


def _is_ready(up: Up) -> bool:
    return all(httpx.get(f"{up.stack[f'{name}_url']}/ready").status_code == 200 for name in SERVICES)
