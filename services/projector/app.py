"""The projector: what it keeps, made here."""

from __future__ import annotations

import asyncio
from typing import Any

from psycopg import AsyncConnection

from events.keeper.process import Keeper, Kept
from events.queries import load_queries
from services.projector.keys import KeysProjection
from services.projector.metrics import ProjectorMetrics
from services.projector.schema import projector_schema
from services.projector.settings import ProjectorSettings

_QUERIES = load_queries("services.projector")


async def run(settings: ProjectorSettings, stopping: asyncio.Event) -> None:
    """Keep the schema `projector` until `stopping` is set. Raises `SettingsError` or `WrongLog`."""
    metrics = ProjectorMetrics()

    async def count_parked(connection: AsyncConnection[Any]) -> None:
        row = await (await connection.execute(_QUERIES["count_parked"])).fetchone()
        assert row is not None
        metrics.parked_lineages.set(row[0])

    kept = Kept(
        schema=projector_schema(),
        topics=[settings.lifecycle],
        projections=[KeysProjection(settings)],
        works=[],
        probe=count_parked,
    )
    await Keeper(settings, kept, metrics).run(stopping)
