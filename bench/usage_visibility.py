"""When a use can be seen, while a thousand a second are emitted: in `stats`, and in usage.hourly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.probe import admin
from bench.sample_keys import SampleKeys
from bench.sample_usage import one_use
from bench.servers import BenchService, Place
from events.codec import decode_total
from events.kafka_log import KafkaEventLog, KafkaLogReader
from events.totals import HourlyUsage

#: The key whose uses are watched, and how many uses of others come between two of its own.
WATCHED = 0
OTHERS_BETWEEN = 20
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Seconds from the sending of each watched use until it was seen."""

    in_stats: Sequence[float]
    in_hourly: Sequence[float]


class _Watch:
    """Sums that only grow, and when they were seen: a sum of n shows the first n uses."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.moments: list[float] = []

    def see(self, total: int) -> None:
        now = time.monotonic()
        self.moments += [now] * (min(total, self._wanted) - len(self.moments))

    @property
    def has_seen_all(self) -> bool:
        return len(self.moments) >= self._wanted


async def watch_uses(
    place: Place, api: BenchService, keys: SampleKeys, key_count: int, rate: int, seconds: int
) -> Seen:
    """Emit so many a second for so long; raises `TimeoutError` where not all can be seen in the end."""
    wanted = seconds * rate // OTHERS_BETWEEN
    stats, hourly = _Watch(wanted), _Watch(wanted)
    stop = asyncio.Event()
    watching = [
        asyncio.create_task(_watch_stats(api, keys.key_id(WATCHED), stats, stop)),
        asyncio.create_task(_watch_hourly(place, keys.key_id(WATCHED), hourly, stop)),
    ]
    try:
        sent = await _emit(place, keys, key_count, rate, wanted)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (stats.has_seen_all and hourly.has_seen_all):
                for task in watching:
                    if task.done():
                        task.result()
                await asyncio.sleep(POLL_SECONDS)
    finally:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*watching)
    return Seen(
        [seen - at for seen, at in zip(stats.moments, sent, strict=True)],
        [seen - at for seen, at in zip(hourly.moments, sent, strict=True)],
    )


async def _emit(place: Place, keys: SampleKeys, key_count: int, rate: int, wanted: int) -> list[float]:
    """When each watched use was handed to the log."""
    sent: list[float] = []
    on_their_way: set[asyncio.Task[object]] = set()
    began = time.monotonic()
    async with KafkaEventLog(place.kafka) as log:
        for number in range(wanted * OTHERS_BETWEEN):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            is_watched = number % OTHERS_BETWEEN == 0
            of = WATCHED if is_watched else 1 + number % (key_count - 1)
            key, value = one_use(keys, of, datetime.now(UTC), number)
            if is_watched:
                sent.append(time.monotonic())
            task: asyncio.Task[object] = asyncio.create_task(log.append(place.topics.usage.name, key, value))
            on_their_way.add(task)
            task.add_done_callback(on_their_way.discard)
        await asyncio.gather(*on_their_way)
    return sent


async def _watch_stats(api: BenchService, key_id: str, watch: _Watch, stop: asyncio.Event) -> None:
    while not stop.is_set():
        status, body = await asyncio.to_thread(admin, api, "GET", f"/api/v1/usage/{key_id}/stats")
        if status == 200:  # 503 while the read model is being filled
            watch.see(json.loads(body)["total_requests"])
        await asyncio.sleep(POLL_SECONDS)


async def _watch_hourly(place: Place, key_id: str, watch: _Watch, stop: asyncio.Event) -> None:
    revisions: dict[datetime, int] = {}
    async with KafkaLogReader(place.kafka, place.topics.hourly_usage) as reader:
        await reader.begin({})
        while not stop.is_set():
            for record in await reader.read(timeout_seconds=POLL_SECONDS):
                total = decode_total(record.value)
                if isinstance(total, HourlyUsage) and total.data.key_id == key_id:
                    revisions[total.data.hour] = max(total.data.revision, revisions.get(total.data.hour, 0))
            watch.see(sum(revisions.values()))
