"""How `hokusai-auth up` begins and ends: with servers of its own or others, stopped, killed, or refusing."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from events.topics import Topics
from services.local.kafka import EmbeddedKafka
from services.local.ports import LOOPBACK, free_ports
from tests.acceptance.eventually import eventually
from tests.acceptance.up import READY_SECONDS, SERVICES, STOP_SECONDS, Up


@pytest.fixture
def servers(kafka: EmbeddedKafka, topics: Topics, database_url: str) -> dict[str, str]:
    """The environment that names the servers that tests share."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": topics.prefix,
        "DATABASE_URL": database_url,
    }


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
    tmp_path: Path, servers: dict[str, str]
) -> None:
    with Up(tmp_path, servers=servers, ADMIN_TOKEN="the-token-of-the-environment") as up:
        stack = up.wait_ready().stack
        assert stack["pids"].keys() == set(SERVICES)
        assert stack["kafka_bootstrap_servers"] == servers["KAFKA_BOOTSTRAP_SERVERS"]
        assert stack["database_url"] == servers["DATABASE_URL"]
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


def test_a_service_that_refuses_to_start_is_quoted(tmp_path: Path, servers: dict[str, str]) -> None:
    with Up(tmp_path, servers=servers, ADMIN_TOKEN="short") as up:
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
