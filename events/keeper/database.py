"""Connections to Postgres, set up as everything that keeps a schema expects them."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

# A process that is stopped in the middle of a batch must not keep its rows locked: 8 s, which is longer than
# a batch ever waits for its dead letters.
_OPTIONS = (
    "-c search_path={schema} -c timezone=UTC -c statement_timeout=30000 "
    "-c idle_in_transaction_session_timeout=8000"
)


async def connect(database_url: str, schema: str) -> AsyncConnection[Any]:
    """A connection that autocommits, outside any pool. Raises psycopg's errors, which say why not."""
    return await AsyncConnection.connect(database_url, **_settings(schema))


def new_pool(database_url: str, schema: str) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """A closed pool of such connections; whoever waits for one longer than 3 s gets `PoolTimeout`."""
    # A short time to give up, because attempts of an old outage would go on with ever longer pauses.
    return AsyncConnectionPool(
        database_url,
        kwargs=_settings(schema),
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


def _settings(schema: str) -> dict[str, Any]:
    return {
        "autocommit": True,
        "connect_timeout": 3,
        "tcp_user_timeout": 30_000,
        "application_name": f"hokusai-auth {schema}",
        "options": _OPTIONS.format(schema=schema),
    }
