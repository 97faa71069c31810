"""The canary: what is secret stands in the one answer that issued it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import psycopg
from psycopg import sql

from events.kafka_clients import administration
from events.topics import Topic
from events.usage import Usage
from services.billing.months import end_of, last_due
from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.client import KEYS, VALIDATE, ApiClient, Created
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ADMIN_TOKEN, PEPPER, Stack, StackService
from tests.acceptance.the_log import append, postgres_agrees, records, run
from tests.acceptance.usage_load import Use, emit

OTHER_PEPPER = "p0:yet-another-pepper-for-tests-only-8842"
OTHER_TOKEN = "another-admin-token-for-tests-only-91bc"

#: Where rows are once projector, windows and billing have had something of all that they handle.
EVERYTHING_WORKED = {
    f"table {name}"
    for name in (
        "projector.key",
        "projector.key_event",
        "projector.usage_hour",
        "projector.usage_published",
        "projector.rate_window",
        "projector.key_activity",
        "billing.hour",
        "billing.account",
        "billing.statement_line",
    )
}
TOLD_SECONDS = 15.0


def test_secrets_are_in_no_log_topic_metric_or_table(
    stack: Stack, kafka: EmbeddedKafka, postgres: EmbeddedPostgres
) -> None:
    stack.settings |= {
        "LOG_LEVEL": "DEBUG",
        "ADMIN_TOKEN": f"{ADMIN_TOKEN},{OTHER_TOKEN}",
        "KEY_PEPPERS": f"{PEPPER},{OTHER_PEPPER}",
    }
    keepers = [stack.projector(), stack.windows(), stack.billing()]
    nodes = [stack.api(), stack.api(workers=2)]
    secrets = {"admin token": ADMIN_TOKEN, "other admin token": OTHER_TOKEN}
    secrets |= {f"pepper {number}": text.split(":")[1] for number, text in enumerate((PEPPER, OTHER_PEPPER))}
    for node in nodes:
        for key in drive_every_route(node.client):
            # The part that is random: a key without its mark would be as bad.
            secrets[key.key_id] = key.api_key.rpartition("_")[2]
    append(stack, next(iter(secrets)), b"poison, so that the dead letters are there too")
    use_in_a_month_that_is_due(stack, key.key_id)
    postgres_agrees(stack)
    eventually(lambda: filled_tables(stack) >= EVERYTHING_WORKED, TOLD_SECONDS, "all processes' rows")

    places = {
        **logs(*keepers, *nodes),
        **topic_contents(stack),
        **{f"metrics of {service.name}": metrics(service) for service in (*keepers, *nodes)},
        **tables(stack),
        "kafka's log": kafka.log_path.read_bytes(),
        "postgres' log": postgres.log_path.read_bytes(),
    }
    assert {name.split()[0] for name in places} >= {"log", "topic", "metrics", "table"}
    found = [
        f"{secret} in {place}"
        for place, content in places.items()
        for secret, text in secrets.items()
        if text.encode() in content
    ]
    assert not found


def drive_every_route(client: ApiClient) -> Iterator[Created]:
    """Every route and the ways in which it fails, with a key wherever one may be put by mistake."""
    first = client.new_key()
    second = client.rotated(first.key_id, grace_period_hours=1)
    third = client.rotated(second.key_id)
    yield from (first, second, third)
    keys = [key.api_key for key in (first, second, third)]
    client.validate(keys[0])
    client.rotate(first.key_id)
    client.list(service_id=keys[2], cursor=keys[2], limit=keys[2])
    client.list(cursor=keys[2])
    admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    for key in [*keys, "hk_live_" + keys[2][8:].swapcase()]:
        bearer = {"Authorization": f"Bearer {key}"}
        client.list(limit=1, api_key=key)
        client.look_up(key)
        client.revoke(key)
        client.rotate(key)
        client.get(f"/{quote(key)}", api_key=key)
        client.get("/metrics", api_key=key)
        client.get(KEYS, api_key=key)
        client.post(KEYS, {"api_key": key}, bearer)
        client.post(KEYS, {"name": [key], "service_id": key, "expires_at": key, "environment": key}, admin)
        client.post(KEYS, {"name": "x", "service_id": "platform", "allowed_ips": [key], key: key}, admin)
        client.post(f"{KEYS}/{third.key_id}/rotate", {"grace_period_hours": key}, admin)
        for headers in (
            bearer,
            {"X-API-Key": key},
            {"Authorization": key},
            {"Authorization": f"Basic {key}"},
        ):
            client.post(VALIDATE, {"service_id": key, "required_scope": key, "client_ip": key}, headers)
            client.post(VALIDATE, [key], headers)
        client.post(VALIDATE, {"api_key": key})
        client.post(VALIDATE, {"api_key": f"{key}{key}"})
        client.post(VALIDATE, {"api_key": key * 4000})
        client.post(f"{VALIDATE}?api_key={key}", {"api_key": [key]})
        for path in (key, third.key_id):
            client.report(path, key, endpoint=key)
            client.report(path, endpoint=f"/predict?api_key={key}", service_id=key)
            client.report(path, endpoint=[key], service_id={key: key}, status_code=key, compute_ms=key)
            client.debit(path, f"{key}-1")
            client.stats(path, period=key)
            client.billing(path)
        client.aggregate(service_id=key, start_date=key)
        broken = f'{{"api_key": "{key}", '
        httpx.post(f"{client.url}{VALIDATE}", content=broken)
        httpx.post(f"{client.url}{KEYS}", content=broken, headers=admin)
        httpx.request("BREW", f"{client.url}{VALIDATE}", headers=bearer)
    client.revoke(third.key_id)
    client.validate(keys[2])


def use_in_a_month_that_is_due(stack: Stack, key_id: str) -> None:
    """Billing closes it at once. And one that is too old, for the dead letters."""
    usage = Usage(
        key_id=key_id, service_id="platform", endpoint="/predict", status_code=200, response_time_ms=1
    )
    now = datetime.now(UTC)
    times = (now - timedelta(days=40), end_of(last_due(now)) - timedelta(hours=1))
    run(emit(stack.kafka, stack.topics, [Use(f"use of {time}", time, usage) for time in times]))


def logs(*services: StackService) -> dict[str, bytes]:
    found = {f"log {service.name}": service.log_path.read_bytes() for service in services}
    for name, content in found.items():
        assert b" DEBUG " in content, f"nothing at DEBUG in {name}"
    return found


def topic_contents(stack: Stack) -> dict[str, bytes]:
    """Every record of every topic, those that Faust has made for itself too."""
    found = {}
    for topic in topics_there_are(stack):
        found[f"topic {topic.name}"] = b"\n".join(
            part
            for record in records(stack, topic)
            for part in (record.key or b"", record.value or b"", repr(record).encode())
        )
    assert len(found) > len(stack.topics.all())
    for topic in stack.topics.all():
        assert found[f"topic {topic.name}"], f"nothing in {topic.name}"
    return found


def topics_there_are(stack: Stack) -> list[Topic]:
    async def ask() -> list[Topic]:
        async with administration(stack.kafka) as admin:
            names = [name for name in await admin.list_topics() if name.startswith(stack.topics.prefix)]
            return [Topic(name, "", {}) for name in names]

    return run(ask())


def metrics(service: StackService) -> bytes:
    return httpx.get(f"{service.url}/metrics").content


def filled_tables(stack: Stack) -> set[str]:
    return {table for table, content in tables(stack).items() if content}


def tables(stack: Stack) -> dict[str, bytes]:
    """Every row of every table that is not Postgres' own, as text."""
    with psycopg.connect(stack.database_url) as connection:
        names = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert names
        found = {}
        for schema, table in names:
            rows = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
            found[f"table {schema}.{table}"] = "\n".join(
                row[0] for row in connection.execute(rows).fetchall()
            ).encode()
    return found
