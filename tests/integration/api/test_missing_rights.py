"""A reader that Postgres does not let in, as after a rebuild that dropped the grants with the schema."""

from __future__ import annotations

import uuid
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from events.keeper.database import connect
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


async def test_default_privileges_outlast_a_schema_that_is_made_anew(database_url: str) -> None:
    """As the README grants them: an upgrade of the projector takes nothing from the api."""
    role = sql.Identifier(f"reader_{uuid.uuid4().hex[:12]}")
    url = urlsplit(database_url)
    schema = projector_schema()
    async with await connect(database_url, schema.name) as owner:
        await owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        for right, kind in (("USAGE", "SCHEMAS"), ("SELECT", "TABLES")):
            grant = f"ALTER DEFAULT PRIVILEGES GRANT {right} ON {kind} TO {{}}"
            await owner.execute(sql.SQL(grant).format(role))
        await prepare_schema(owner, schema)
        await prepare_schema(owner, replace(schema, version=schema.version + 1))
        place = url.netloc.rpartition("@")[2]
        reader = url._replace(netloc=f"{role.as_string(None)[1:-1]}@{place}").geturl()
        read_models = PostgresReadModels(reader, "keys.lifecycle")
        await read_models.open()
        try:
            assert await read_models.is_reachable()
        finally:
            await read_models.close()
            await owner.execute(sql.SQL("DROP OWNED BY {}").format(role))
            await owner.execute(sql.SQL("DROP ROLE {}").format(role))
