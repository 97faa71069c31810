from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from services.local.errors import StartFailed
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.eventually import eventually


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path) as server:
        yield server


def test_what_was_committed_survives_a_kill_and_a_stop(server: EmbeddedPostgres, tmp_path: Path) -> None:
    _run(server, "CREATE TABLE kept (what text)")
    _run(server, "INSERT INTO kept VALUES ('before the kill')")
    server.kill()
    server.start()
    server.wait_ready()
    _run(server, "INSERT INTO kept VALUES ('before the stop')")
    server.stop()
    with EmbeddedPostgres(tmp_path) as again:
        assert again.database_url == server.database_url
        assert _run(again, "SELECT what FROM kept") == [("before the kill",), ("before the stop",)]


def test_a_kill_leaves_none_of_its_processes(server: EmbeddedPostgres) -> None:
    family = psutil.Process(server.pid).children()
    assert family
    server.kill()
    assert not any(process.is_running() for process in family)


def test_it_starts_whatever_the_environment_says_of_other_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGHOSTADDR": "192.0.2.1", "PGSERVICE": "warehouse"}.items():
        monkeypatch.setenv(name, value)
    with EmbeddedPostgres(tmp_path) as server:
        assert _run(server, "SELECT 1") == [(1,)]


def test_it_stops_although_clients_are_connected(server: EmbeddedPostgres) -> None:
    family = psutil.Process(server.pid).children()
    with psycopg.connect(server.database_url):
        server.stop()
    assert server.exit_code == 0
    assert not any(process.is_running() for process in family)


def test_one_killed_by_somebody_else_can_be_started_at_once(server: EmbeddedPostgres) -> None:
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not server.is_running, 10, "the end")
    eventually(lambda: _starts(server), 20, "another start")


def test_a_server_that_was_left_behind_is_ended_first(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as successor:
        assert not server.is_running
        assert _run(successor, "SELECT 1") == [(1,)]


def test_nobody_else_can_reach_it(server: EmbeddedPostgres) -> None:
    folder = Path(server.database_url.partition("host=")[2])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert _run(server, "SHOW listen_addresses") == [("",)]


@pytest.mark.parametrize("name", ["with a space, and a comma", "long" * 30])
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    with EmbeddedPostgres(tmp_path / name) as server:
        assert _run(server, "SELECT 1") == [(1,)]


def test_text_sorts_the_same_everywhere(server: EmbeddedPostgres) -> None:
    assert _run(server, "SELECT x FROM (VALUES ('b'), ('A'), ('B'), ('a')) AS t (x) ORDER BY x") == [
        ("A",),
        ("B",),
        ("a",),
        ("b",),
    ]


def test_a_broken_folder_is_told_in_its_own_words(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(
        StartFailed, match=r"exit code 1, last words .*FATAL:  database files are incompatible"
    ):
        EmbeddedPostgres(tmp_path).__enter__()


def _run(server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _starts(server: EmbeddedPostgres) -> bool:
    server.start()
    try:
        server.wait_ready()
    except StartFailed:
        return False
    return True
