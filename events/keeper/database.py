"""Connections to Postgres, set up as everything that keeps a schema expects them."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from events.database_sessions import session_settings

# A process that is stopped between two statements must not keep its rows locked: 8 s is longer than a batch
# ever waits for its dead letters. One that is stopped in the middle of a COPY is not idle to Postgres, and no
# timeout ends it: who takes its partitions over does (`claims`).
IDLE_SECONDS = 8
#: Far more than a batch takes.
STATEMENT_SECONDS = 10

#: An auditor reads whole tables. One that is stopped in between must not keep its transaction open for ever.
AUDIT_STATEMENT_SECONDS = 3600
AUDIT_IDLE_SECONDS = 60


async def connect(database_url: str, schema: str) -> AsyncConnection[Any]:
    """A connection that autocommits, outside any pool. Raises psycopg's errors, which say why not."""
    return await AsyncConnection.connect(database_url, **_settings(schema, STATEMENT_SECONDS, IDLE_SECONDS))


async def connect_auditor(database_url: str, schema: str) -> AsyncConnection[Any]:
    """The same for whoever compares a schema with the log: it takes its time, and sees every row or fails."""
    # With row_security off, a query fails where a policy would have hidden rows.
    patience = _settings(schema, AUDIT_STATEMENT_SECONDS, AUDIT_IDLE_SECONDS, row_security="off")
    return await AsyncConnection.connect(database_url, **patience)


def new_pool(database_url: str, schema: str) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """A closed pool of such connections; whoever waits for one longer than 3 s gets `PoolTimeout`."""
    # A short time to give up, because attempts of an old outage would go on with ever longer pauses.
    return AsyncConnectionPool(
        database_url,
        kwargs=_settings(schema, STATEMENT_SECONDS, IDLE_SECONDS),
        min_size=1,
        max_size=10,
        timeout=3.0,
        reconnect_timeout=2.0,
        open=False,
        name=schema,
    )


def address(database_url: str) -> str:
    """Where Postgres is, for people: without user or password."""
    parts = conninfo_to_dict(database_url)
    return f"Postgres at {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def _settings(schema: str, statement_seconds: int, idle_seconds: int, **more: str) -> dict[str, Any]:
    options = {
        "search_path": schema,
        "statement_timeout": f"{statement_seconds}s",
        "idle_in_transaction_session_timeout": f"{idle_seconds}s",
        **more,
    }
    return {**session_settings(options), "application_name": f"hokusai-auth {schema}"}
