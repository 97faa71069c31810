"""The Faust app without a broker: windows change, nothing else does; what cannot be handled ends the process."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import faust
import pytest

from events.clock import Clock
from events.codec import encode
from events.keeper.metrics import Metrics
from events.settings import KafkaSettings
from events.totals import WindowCount
from services.projector import rate_windows
from services.projector.rate_windows import all_windows, create_app, credentials
from services.projector.rate_windows_unwritten import Unwritten
from services.projector.settings import WindowsSettings

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
        self.clock = Clock(wall=lambda: 100 * 3600.0, monotonic=lambda: 0.0)
        self.ended = 0
        self.app = create_app(
            WindowsSettings.from_environment(ENVIRONMENT),
            self.unwritten,
            self.metrics.of("windows"),
            self.clock,
            folder,
            self.end,
        )
        self.app.producer.send_soon = lambda _: None  # type: ignore[method-assign, assignment, misc]

    def end(self) -> None:
        self.ended += 1

    def counting(self) -> Any:
        return self.app.agents["counters"].test_context()


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


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


async def put(agent: Any, counter: WindowCount, key: bytes = LINEAGE.encode()) -> None:
    await agent.put(encode(counter), key=key)


def a_counter(**overrides: Any) -> WindowCount:
    values = {"node_id": "one", "kind": "validations", "lineage_id": LINEAGE, "hour": 100, "count": 1}
    return WindowCount(**{**values, **overrides})
