"""A reader that Postgres does not let in, as after a rebuild that dropped the grants with the schema."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from events.keeper.schema import prepare_schema
from services.api.errors import ReadModelUnavailable
from services.api.read_models import PostgresReadModels
from services.projector.schema import projector_schema

pytestmark = pytest.mark.anyio


async def test_a_missing_right_is_an_unavailable_read_model_and_no_crash(database_url: str) -> None:
    """Anything else would end the worker, and with it validation, which needs no database."""
    role = f"reader_{uuid.uuid4().hex[:12]}"
    async with await AsyncConnection.connect(database_url, autocommit=True) as owner:
        await prepare_schema(owner, projector_schema())
        await owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        url = urlsplit(database_url)
        place = url.netloc.rpartition("@")[2]
        read_models = PostgresReadModels(url._replace(netloc=f"{role}@{place}").geturl(), "keys.lifecycle")
        await read_models.open()
        try:
            with pytest.raises(ReadModelUnavailable, match="not available") as refusal:
                await read_models.known_log()
            assert isinstance(refusal.value.__cause__, psycopg.errors.InsufficientPrivilege)
            assert not await read_models.is_reachable()
        finally:
            await read_models.close()
            await owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
