"""Which peppers nodes were ever started with, as their topic says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import nullcontext

import pytest

from events.codec import encode
from events.errors import LogUnavailable, WrongLog
from events.log import LogReader
from events.memory_log import MemoryLog
from services.api.validation.known_peppers import KnownPeppers
from tests.fakes import UnsteadyLog, UnsteadyReader
from tests.pepper_fakes import AGAIN_SECONDS, PEPPERS, declaration, declare, known_peppers

pytestmark = pytest.mark.anyio


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


class CountedReadings:
    """Opens readers of the topic, and counts them."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.count = 0
        self.reader: LogReader | None = None

    def __call__(self) -> nullcontext[LogReader]:
        self.count += 1
        return nullcontext(self.reader or self._log.reader(PEPPERS))

    def peppers(self, *own: str, again_seconds: float = 60) -> KnownPeppers:
        return KnownPeppers(
            own, self, self._log, PEPPERS.name, "urn:x", pause_seconds=0.02, again_seconds=again_seconds
        )


class MissingTopic(UnsteadyReader):
    async def begin(self, positions: object) -> None:
        raise WrongLog("keys.peppers is missing: run `hokusai-auth topics apply`")


class HeldReader(UnsteadyReader):
    """Tells where the log ended when it was asked, but late."""

    def __init__(self, reader: LogReader) -> None:
        super().__init__(reader)
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def end_offsets(self, timeout_seconds: float = 5.0) -> Mapping[int, int]:
        ends = await super().end_offsets(timeout_seconds)
        self.is_asked.set()
        await self.may_answer.wait()
        return ends


async def declared(log: MemoryLog) -> list[tuple[bytes | None, bytes | None]]:
    reader = log.reader(PEPPERS)
    await reader.begin({})
    return [(record.key, record.value) for record in await reader.read(timeout_seconds=0)]


async def test_a_node_declares_its_peppers_once(log: MemoryLog) -> None:
    for _ in range(3):
        await known_peppers(log, ["2026.a", "2025.b"]).start()

    assert sorted(key or b"" for key, _ in await declared(log)) == [b"2025.b", b"2026.a"]


async def test_what_is_declared_is_an_event_without_a_secret(log: MemoryLog) -> None:
    await known_peppers(log, ["2026.a"]).start()

    ((_, value),) = await declared(log)
    assert value is not None
    assert b'"type":"hokusai.auth.PepperConfigured.v1"' in value
    assert b'"data":{"pepper_id":"2026.a"}' in value


async def test_peppers_of_other_nodes_are_known_also_when_these_are_gone(log: MemoryLog) -> None:
    await known_peppers(log, ["2024.z"]).start()
    peppers = known_peppers(log, ["2026.a"])

    await peppers.start()

    assert "2024.z" in peppers
    assert await peppers.include("2024.z")
    assert await peppers.include("2026.a")
    assert not await peppers.include("forged")


async def test_a_pepper_that_a_node_was_started_with_since_is_found(log: MemoryLog) -> None:
    peppers = known_peppers(log, ["2026.a"])
    await peppers.start()
    await declare(log, "2027.n")

    assert await peppers.include("2027.n")


async def test_a_pepper_that_was_asked_for_too_early_is_found_a_little_later(log: MemoryLog) -> None:
    peppers = known_peppers(log, ["2026.a"])
    await peppers.start()
    assert not await peppers.include("2027.n")
    await declare(log, "2027.n")

    async with asyncio.timeout(5):
        while not await peppers.include("2027.n"):
            await asyncio.sleep(AGAIN_SECONDS / 5)


async def test_a_flood_of_questions_is_one_reading_or_two(log: MemoryLog) -> None:
    readings = CountedReadings(log)
    peppers = readings.peppers("2026.a")
    await peppers.start()

    for _ in range(50):
        assert not any(await asyncio.gather(*(peppers.include(f"forged {number}") for number in range(100))))

    assert readings.count == 2


async def test_many_forged_peppers_are_asked_for_at_the_pace_of_readings(log: MemoryLog) -> None:
    readings = CountedReadings(log)
    peppers = readings.peppers("2026.a")
    await peppers.start()
    began = asyncio.get_running_loop().time()

    for number in range(10):
        assert not await peppers.include(f"forged {number}")

    assert readings.count == 11
    assert asyncio.get_running_loop().time() - began > 10 * 0.02 * 0.9


async def test_who_asks_during_a_reading_gets_one_that_begins_afterwards(log: MemoryLog) -> None:
    """The reading under way may have passed the place where the pepper was declared meanwhile."""
    readings = CountedReadings(log)
    peppers = readings.peppers("2026.a")
    await peppers.start()
    held = readings.reader = HeldReader(log.reader(PEPPERS))
    first = asyncio.create_task(peppers.include("forged"))
    await held.is_asked.wait()

    second = asyncio.create_task(peppers.include("2027.n"))
    await asyncio.sleep(0)
    await declare(log, "2027.n")
    readings.reader = None
    held.may_answer.set()

    assert not await first
    assert await second
    assert readings.count == 3


async def test_each_forged_pepper_is_told_once_with_what_to_do(
    log: MemoryLog, caplog: pytest.LogCaptureFixture
) -> None:
    peppers = known_peppers(log, ["2026.a"])
    await peppers.start()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            for pepper_id in ("forged", "also\nforged"):
                await peppers.include(pepper_id)
            await asyncio.sleep(AGAIN_SECONDS * 1.2)

    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "'forged'" in told[0]
    assert "KEY_PEPPERS" in told[0]
    assert "\n" not in told[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"forged", b"{}"),
        (b"forged", b"not json"),
        (b"forged", encode(declaration("another"))),
        (None, encode(declaration("forged"))),
    ],
)
async def test_what_is_no_declaration_declares_nothing(
    log: MemoryLog, key: bytes | None, value: bytes
) -> None:
    await log.append(PEPPERS.name, key, value)
    peppers = known_peppers(log)

    await peppers.start()

    assert "forged" not in peppers
    assert "another" not in peppers


async def test_a_pepper_is_withdrawn_by_a_record_without_a_value(log: MemoryLog) -> None:
    await declare(log, "2024.z", "2023.y")
    await log.append(PEPPERS.name, b"2024.z", None)
    peppers = known_peppers(log)

    await peppers.start()

    assert "2024.z" not in peppers
    assert "2023.y" in peppers


async def test_without_the_topic_a_node_knows_its_own_and_says_what_to_do(
    log: MemoryLog, caplog: pytest.LogCaptureFixture
) -> None:
    readings = CountedReadings(log)
    readings.reader = MissingTopic(log.reader(PEPPERS))
    peppers = readings.peppers("2026.a")

    with caplog.at_level(logging.ERROR):
        await peppers.start()
        await peppers.start()

    assert await peppers.include("2026.a")
    assert not await peppers.include("2024.z")
    assert sum("topics apply" in record.getMessage() for record in caplog.records) == 1
    assert await declared(log) == []


async def test_once_the_topic_is_applied_it_is_declared_what_was_not(log: MemoryLog) -> None:
    readings = CountedReadings(log)
    readings.reader = MissingTopic(log.reader(PEPPERS))
    peppers = readings.peppers("2026.a")
    await peppers.start()
    readings.reader = None

    await peppers.include("2024.z")

    assert [key for key, _ in await declared(log)] == [b"2026.a"]


async def test_a_log_that_is_away_is_no_answer(log: MemoryLog) -> None:
    readings = CountedReadings(log)
    peppers = readings.peppers("2026.a")
    await peppers.start()
    reader = UnsteadyReader(log.reader(PEPPERS))
    reader.fall_silent()
    readings.reader = reader

    with pytest.raises(LogUnavailable):
        await peppers.include("2024.z")
    assert await peppers.include("2026.a")

    readings.reader = None
    await declare(log, "2024.z")
    assert await peppers.include("2024.z"), "what nobody could tell is asked for again"


async def test_a_declaration_that_does_not_arrive_is_no_start(log: MemoryLog) -> None:
    away = UnsteadyLog(log)
    away.is_away = True
    peppers = KnownPeppers(["2026.a"], lambda: nullcontext(log.reader(PEPPERS)), away, PEPPERS.name, "urn:x")

    with pytest.raises(LogUnavailable):
        await peppers.start()
    away.is_away = False
    await peppers.start()
    assert [key for key, _ in await declared(log)] == [b"2026.a"]
