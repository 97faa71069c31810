"""The Faust app without a broker: windows change; what cannot be handled ends the process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from events.clock import Clock
from events.codec import encode
from events.keeper.metrics import Metrics
from events.settings import KafkaSettings
from events.totals import WindowCount
from services.projector import rate_windows
from services.projector.rate_windows import all_windows, create_app, credentials
from services.projector.rate_windows_unwritten import Unwritten
from services.projector.settings import ProjectorSettings, WindowsSettings

pytestmark = pytest.mark.anyio

LINEAGE = "0190a000-0000-7000-8000-000000000001"
ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "broker-1:9092,[::1]:9093",
    "KAFKA_TOPIC_PREFIX": "staging.",
    "KAFKA_REPLICATION_FACTOR": "3",
    "KAFKA_MIN_INSYNC_REPLICAS": "2",
    "DATABASE_URL": "postgresql://db.internal/hokusai",
}
SASL = {"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p"}


class Rig:
    """The app and all that stands around it; the clock stands still in hour 100."""

    def __init__(self, folder: Path) -> None:
        self.unwritten = Unwritten()
        self.metrics = Metrics("windows")
        self.hour = 100
        self.clock = Clock(wall=lambda: self.hour * 3600.0, boottime=lambda: 0.0)
        self.ended = asyncio.Event()
        self.app = create_app(
            WindowsSettings.from_environment(ENVIRONMENT),
            self.unwritten,
            self.metrics.of("windows"),
            self.clock,
            folder,
            self.ended.set,
        )
        self.app.producer.send_soon = lambda _: None  # type: ignore[method-assign, assignment]

    def counting(self) -> Any:
        return self.app.agents["counters"].test_context()

    def close(self) -> None:
        consumer: Any = self.app.consumer
        consumer._thread.thread_loop.close()  # of a thread that was never started


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


async def test_counters_of_an_hour_are_one_window(rig: Rig) -> None:
    async with rig.counting() as agent:
        for node, hour, count in [("one", 100, 5), ("one", 100, 4), ("other", 100, 2), ("one", 99, 7)]:
            await put(agent, a_counter(node_id=node, hour=hour, count=count))
    changes = rig.unwritten.changes()
    assert {key: window["nodes"] for key, window in changes.windows.items()} == {
        (LINEAGE, 100): {"one": ("validations", 5), "other": ("validations", 2)},
        (LINEAGE, 99): {"one": ("validations", 7)},
    }
    assert changes.windows == dict(all_windows(rig.app, rig.clock))
    assert (changes.next_offsets, changes.counters) == ({0: 4}, 4)


async def test_a_counter_that_says_nothing_new_costs_no_write_of_the_table(rig: Rig) -> None:
    sent: list[object] = []
    rig.app.producer.send_soon = sent.append  # type: ignore[method-assign, assignment]
    async with rig.counting() as agent:
        for _ in range(3):
            await put(agent, a_counter(count=5))
    assert (len(sent), rig.unwritten.changes().counters) == (1, 3)


async def test_unreadable_records_are_counted_told_and_passed(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig.counting() as agent:
        await agent.put(b'{"node_id": "s3cret"', key=LINEAGE.encode())
        await agent.put(None, key=None)
        await put(agent, a_counter(), key=b"another")
    assert b'windows_dead_letters_total{projection="windows",reason="unreadable"} 3.0' in rig.metrics.text()
    assert "staging.ratelimit.counters/0@0: " in caplog.text
    assert "s3cret" not in caplog.text
    changes = rig.unwritten.changes()
    assert (changes.windows, changes.next_offsets, changes.counters) == ({}, {0: 3}, 3)


async def test_hours_over_for_three_are_passed_and_leave_the_table(rig: Rig) -> None:
    async with rig.counting() as agent:
        await put(agent, a_counter(hour=96))
        await put(agent, a_counter(hour=97))
    assert list(rig.unwritten.changes().windows) == [(LINEAGE, 97)]
    rig.hour = 101
    assert list(all_windows(rig.app, rig.clock)) == []
    table: Any = rig.app.tables["windows"]
    assert dict(table.data) == {}


async def test_what_cannot_be_handled_ends_the_process_and_is_not_passed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with rig.counting() as agent:
        await put(agent, a_counter(count=1))
        monkeypatch.setattr(rate_windows, "merge", fail)
        await agent.put(encode(a_counter(count=2)), key=LINEAGE.encode(), wait=False)
        await asyncio.wait_for(rig.ended.wait(), 5)
    assert rig.unwritten.changes().next_offsets == {0: 1}
    assert "staging.ratelimit.counters/0@1" in caplog.text


async def test_a_counter_is_done_when_it_is_written_not_when_it_is_counted(rig: Rig) -> None:
    async with rig.counting() as agent:
        event = await agent.put(encode(a_counter()), key=LINEAGE.encode())
        await put(agent, a_counter(count=2))
        assert not event.message.acked
        rig.unwritten.written(rig.unwritten.changes(), rig.unwritten.changes().next_offsets)
        assert event.message.acked


async def test_a_recovered_table_is_written_whole(rig: Rig) -> None:
    async with rig.counting() as agent:
        await put(agent, a_counter(count=5))
    rig.unwritten.written(rig.unwritten.changes(), rig.unwritten.changes().next_offsets)
    table: Any = rig.app.tables["windows"]
    await table.call_recover_callbacks()
    assert list(rig.unwritten.changes().windows) == [(LINEAGE, 100)]


async def test_the_apps_names_and_copies_follow_the_settings(rig: Rig) -> None:
    table: Any = rig.app.tables["windows"]
    changelog = table.changelog_topic
    assert rig.app.conf.id == "staging.projector.windows"
    assert changelog.get_topic_name() == "staging.projector.windows-windows-changelog"
    assert (changelog.partitions, rig.app.conf.topic_replication_factor) == (12, 3)
    assert table.extra_topic_configs["min.insync.replicas"] == "2"
    assert [f"{url.host}:{url.port}" for url in rig.app.conf.broker] == ["broker-1:9092", "::1:9093"]


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        pytest.param("PLAINTEXT", None, id="plain"),
        pytest.param("SSL", faust.SSLCredentials, id="TLS"),
        pytest.param("SASL_PLAINTEXT", faust.SASLCredentials, id="SASL"),
        pytest.param("SASL_SSL", faust.SASLCredentials, id="SASL over TLS"),
    ],
)
def test_credentials_reach_faust(protocol: str, expected: type[Any] | None) -> None:
    sasl = SASL if protocol.startswith("SASL") else {}
    settings = KafkaSettings.from_environment({**ENVIRONMENT, **sasl, "KAFKA_SECURITY_PROTOCOL": protocol})
    found: Any = credentials(settings)
    assert type(found) is (expected or type(None))
    if found is None:
        return
    told = credentials_to_aiokafka_auth(found)
    assert told["security_protocol"] == protocol
    assert isinstance(told["ssl_context"], ssl.SSLContext) == protocol.endswith("SSL")
    if protocol.startswith("SASL"):
        assert told["sasl_mechanism"] == "SCRAM-SHA-256"
        assert (told["sasl_plain_username"], told["sasl_plain_password"]) == ("u", "p")


def test_windows_are_measured_on_a_port_of_their_own() -> None:
    assert WindowsSettings.from_environment(ENVIRONMENT).metrics_port == 9103
    assert ProjectorSettings.from_environment(ENVIRONMENT).metrics_port == 9101


async def put(agent: Any, counter: WindowCount, key: bytes = LINEAGE.encode()) -> None:
    await agent.put(encode(counter), key=key)


def a_counter(**overrides: Any) -> WindowCount:
    values = {"node_id": "one", "kind": "validations", "lineage_id": LINEAGE, "hour": 100, "count": 1}
    return WindowCount(**{**values, **overrides})
