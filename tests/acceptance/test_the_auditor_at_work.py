"""`audit verify` beside a running platform: equal is said only where all was compared and all is there."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from events.codec import encode
from events.kafka_log import KafkaEventLog
from services.audit import audit
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import Stack
from tests.acceptance.the_log import run
from tests.builders import a_key_created, some_usage

pytestmark = pytest.mark.timeout(180)

AUDITOR = "test_auditor"
LOST_SIGHT = 60


def test_a_projector_that_has_stopped_is_told_with_what_it_has_not_applied(stack: Stack) -> None:
    projector, key_id = stack.projector(), _new_key(stack)
    stack.billing()
    _use(stack, key_id, 5)
    _said(stack, 0, "up to where the log ended")
    projector.stop()
    _use(stack, key_id, LOST_SIGHT)
    told = _said(stack, 1, "not all of it", "--wait", "1")
    lag = re.findall(r"keys\.usage/\d+: Postgres is (\d+) records behind the log", told)
    assert sum(map(int, lag)) == LOST_SIGHT
    _said(stack, 0, "up to the offsets that it is at", "--at-position")
    stack.projector()
    _said(stack, 0, "up to where the log ended")


def test_an_auditor_who_may_not_read_everything_cannot_tell(stack: Stack) -> None:
    key_id = _new_key(stack)
    stack.projector()
    stack.billing()
    _use(stack, key_id, 5)
    _said(stack, 0, "row for row")
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        for statement in (
            "UPDATE billing.hour SET requests = requests + 7",
            f"CREATE ROLE {AUDITOR} LOGIN",
            f"GRANT USAGE ON SCHEMA projector TO {AUDITOR}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA projector TO {AUDITOR}",
        ):
            connection.execute(statement.encode())
        try:
            for rights, exit_code, told in (
                ((), 2, "schema billing: permission denied: an auditor's role needs USAGE"),
                (("GRANT USAGE ON SCHEMA billing TO {}",), 2, "permission denied for table"),
                (
                    (
                        "GRANT SELECT ON ALL TABLES IN SCHEMA billing TO {}",
                        "ALTER TABLE billing.hour ENABLE ROW LEVEL SECURITY",
                    ),
                    2,
                    "row-level security",
                ),
                (("ALTER TABLE billing.hour DISABLE ROW LEVEL SECURITY",), 1, "the ledger of key"),
            ):
                for right in rights:
                    connection.execute(right.format(AUDITOR).encode())
                _said(
                    stack,
                    exit_code,
                    told,
                    DATABASE_URL=stack.database_url.replace("postgres@", f"{AUDITOR}@"),
                )
        finally:
            connection.execute(f"DROP OWNED BY {AUDITOR}".encode())
            connection.execute(f"DROP ROLE {AUDITOR}".encode())


@pytest.mark.parametrize(
    ("schema", "falsified"),
    [
        ("projector", "UPDATE projector.key SET rate_limit_per_hour = 7"),
        ("projector", "UPDATE projector.key_event SET actor = 'nobody'"),
        ("projector", "DELETE FROM projector.usage_last"),
        ("billing", "UPDATE billing.account SET monthly_prediction_limit = 7"),
    ],
)
def test_what_differs_is_mended_as_the_runbook_says(stack: Stack, schema: str, falsified: str) -> None:
    key_id = _new_key(stack)
    keepers = {"projector": stack.projector(), "billing": stack.billing()}
    _use(stack, key_id, 5)
    _said(stack, 0, "row for row")
    _execute(stack, falsified)
    _said(stack, 1, "Postgres differs from the log in 1 places")
    keepers[schema].stop()
    (drop,) = [line for line in _runbook("Rows differ") if f"SCHEMA {schema} " in line]
    _execute(stack, drop)
    _said(stack, 2, f"there is no schema {schema}")
    (stack.projector if schema == "projector" else stack.billing)()
    _said(stack, 0, "row for row")


def test_an_auditor_is_given_its_rights_as_the_runbook_says(stack: Stack) -> None:
    key_id = _new_key(stack)
    stack.projector()
    stack.billing()
    _use(stack, key_id, 5)
    _said(stack, 0, "row for row")
    role = f"{AUDITOR}_of_the_runbook"
    as_role = {"DATABASE_URL": stack.database_url.replace("postgres@", f"{role}@")}
    _execute(stack, f"CREATE ROLE {role} LOGIN")
    try:
        told = _said(stack, 2, "schema projector: permission denied", **as_role)
        assert "schema billing: permission denied" in told
        for grant in _runbook("It cannot tell"):
            _execute(stack, grant.replace("hokusai_auditor", role))
        _said(stack, 0, "row for row", **as_role)
    finally:
        _execute(stack, f"DROP OWNED BY {role}")
        _execute(stack, f"DROP ROLE {role}")


def test_a_platform_at_work_is_equal(stack: Stack) -> None:
    """Uses come all the time, so that the log has always more than Postgres."""
    key_ids = [_new_key(stack) for _ in range(5)]
    stack.projector()
    stack.billing()
    enough = threading.Event()
    load = threading.Thread(target=lambda: run(_send(stack, key_ids, enough)))
    load.start()
    try:
        eventually(lambda: _applied(stack) > 0, 30, "the first uses in Postgres")
        before = _applied(stack)
        for _ in range(2):
            _said(stack, 0, "row for row")
        assert _applied(stack) > before
    finally:
        enough.set()
        load.join()
    found = json.loads(_verify(stack, "--json").stdout)
    assert found["equal"] is True
    assert found["cannot_tell"] == {}
    assert found["schemas"]["projector"]["differences"] == 0


def _runbook(heading: str) -> list[str]:
    """The statements of SQL below a heading of the runbook."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    section = text.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def _execute(stack: Stack, statement: str) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def _said(stack: Stack, exit_code: int, what: str, *arguments: str, **changes: str) -> str:
    result = _verify(stack, *arguments, **changes)
    assert result.exit_code == exit_code, result.output
    assert what in result.output
    return result.output


def _verify(stack: Stack, *arguments: str, **changes: str) -> Result:
    return CliRunner().invoke(audit, ["verify", *arguments], env={**stack.settings, **changes})


def _new_key(stack: Stack) -> str:
    created = a_key_created()
    _append(stack, stack.topics.lifecycle.name, [(created.subject, encode(created))])
    return created.data.key_id


def _use(stack: Stack, key_id: str, times: int) -> None:
    uses = [some_usage(key_id=key_id, time=datetime.now(UTC)) for _ in range(times)]
    _append(stack, stack.topics.usage.name, [(key_id, encode(use)) for use in uses])


def _append(stack: Stack, topic: str, records: list[tuple[str, bytes]]) -> None:
    async def append() -> None:
        async with KafkaEventLog(stack.kafka) as log:
            await asyncio.gather(*(log.append(topic, key.encode(), value) for key, value in records))

    run(append())


async def _send(stack: Stack, key_ids: list[str], enough: threading.Event) -> None:
    async with KafkaEventLog(stack.kafka) as log:
        while not enough.is_set():
            uses = [some_usage(key_id=key_id, time=datetime.now(UTC)) for key_id in key_ids]
            await asyncio.gather(
                *(log.append(stack.topics.usage.name, use.data.key_id.encode(), encode(use)) for use in uses)
            )


def _applied(stack: Stack) -> int:
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(requests), 0)::int FROM projector.usage_hour"
        ).fetchone()
    return int(row[0]) if row else 0
