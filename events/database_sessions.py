"""Sessions with Postgres that mean the same in every environment, for every role and in every database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

#: libpq sends these over whatever `options` say, so that another process's `PGTZ` would move our hours.
_OVER_OPTIONS = ("PGTZ", "PGDATESTYLE", "PGGEQO")

#: A role or a database may have set these otherwise (`ALTER ROLE ... SET`): what we write depends on them.
_THE_SAME_EVERYWHERE = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "default_transaction_isolation": r"read\ committed",
}


def session_settings(options: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of `connect` for a session with these settings of Postgres, in UTC, UTF-8 and ISO dates.

    Values stand as libpq reads them in `options`: a space is escaped. The variables that libpq puts over
    `options` are taken out of the environment, because no argument is stronger than they are.
    """
    for name in _OVER_OPTIONS:
        os.environ.pop(name, None)
    stated = {**_THE_SAME_EVERYWHERE, **options}
    return {
        "autocommit": True,
        "client_encoding": "UTF8",
        "connect_timeout": 3,
        # A query whose answer is lost on the way ends within half a minute, and frees its connection.
        "tcp_user_timeout": 30_000,
        "options": " ".join(f"-c {name}={value}" for name, value in stated.items()),
    }
