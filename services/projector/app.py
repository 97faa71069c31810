"""The projector: what it keeps, made here."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any

from psycopg import AsyncConnection

from events.clock import Clock
from events.kafka_cluster import high_watermarks, partition_ends
from events.keeper.process import Keeper, Kept
from events.queries import load_queries
from services.projector.hourly import HourlyPublisher
from services.projector.keys import KeysProjection
from services.projector.metrics import ProjectorMetrics
from services.projector.progress import ProgressAnnouncer
from services.projector.published import PublishedProjection
from services.projector.schema import projector_schema
from services.projector.settings import ProjectorSettings
from services.projector.usage import UsageProjection
from services.projector.usage_identities import dropping_periods

#: A batch is tens of thousands of objects that all live until it is written: looking through them after
#: every 700 new ones, as Python does by itself, takes a fifth of the process' time.
OBJECTS_BETWEEN_COLLECTIONS = 50_000

_KEYS_QUERIES = load_queries("services.projector")
_HOURLY_QUERIES = load_queries("services.projector", "hourly.sql")


async def run(settings: ProjectorSettings, stopping: asyncio.Event) -> None:
    """Keep the schema `projector` until `stopping` is set. Raises `SettingsError` or `WrongLog`."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    metrics = ProjectorMetrics()
    publisher = HourlyPublisher(settings, Clock(follows_steps=False), metrics)
    ends_of = partial(partition_ends, settings)
    # An open transaction holds uses that were appended before it ends: they are not published before that.
    everything_appended = partial(high_watermarks, settings, settings.usage)
    announcer = ProgressAnnouncer(settings, everything_appended, metrics)

    async def count(connection: AsyncConnection[Any]) -> None:
        for query, gauge in (
            (_KEYS_QUERIES["count_parked"], metrics.parked_lineages),
            (_HOURLY_QUERIES["count_unpublished"], metrics.unpublished_rows),
        ):
            row = await (await connection.execute(query)).fetchone()
            assert row is not None
            gauge.set(row[0])

    kept = Kept(
        schema=projector_schema(),
        topics=[settings.lifecycle, settings.usage, settings.hourly_usage],
        projections=[
            KeysProjection(settings),
            UsageProjection(settings, partial(ends_of, settings.lifecycle)),
            PublishedProjection(settings),
        ],
        works=[
            publisher.work,
            announcer.work,
            dropping_periods(settings.usage.name, everything_appended),
        ],
        probe=count,
        checks=lambda: {"publishing": not (publisher.is_stalled or announcer.is_stalled)},
    )
    await Keeper(settings, kept, metrics).run(stopping)
