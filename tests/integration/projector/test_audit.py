"""The auditor finds every row that does not follow from the log, and can print what the log says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import psycopg
import pytest
from typer.testing import CliRunner, Result

from events.kafka_log import KafkaLogReader
from events.keeper.database import connect
from events.keeper.schema import prepare_schema
from events.keeper.snapshot import take_snapshot
from events.keeper.verification import Differences
from services.audit import audit
from services.projector.schema import projector_schema
from services.projector.verification import verify
from services.projector.verification_keys import compare_keys
from services.projector.verification_tables import TABLES
from tests.builders import a_key_created, a_key_revoked, a_key_rotated, a_refingerprinting
from tests.integration.projector.world import World, lives

TAMPERED = {
    "UPDATE projector.key SET rate_limit_per_hour = 9 WHERE position = 1": "differs in rate_limit_per_hour",
    "UPDATE projector.key SET revoked_at = NULL": "differs in revoked_at",
    "UPDATE projector.key SET fingerprint = sha256(fingerprint)": "differs in fingerprint",
    "UPDATE projector.key SET pepper_id = 'x'": "differs in pepper_id",
    "DELETE FROM projector.key WHERE position = 0": "key 0 is missing in Postgres",
    "INSERT INTO projector.lineage VALUES (gen_random_uuid(), 1, NULL)": "does not follow from the log",
    "UPDATE projector.lineage SET parked = 'x'": "differs in parked",
    "UPDATE projector.key_event SET actor = 'x' WHERE sequence = 1": "differs in actor",
    "DELETE FROM projector.key_event WHERE sequence = 2": "the event is missing in Postgres",
    "INSERT INTO projector.key_event (topic, partition, record_offset, outcome) VALUES ('t', 0, 77, 'x')": (
        "/0@77: the event is in Postgres, but does not follow from the log"
    ),
    "UPDATE projector.projection_offset SET next_offset = 50": "Postgres is at offset 50, the log ends at",
    "UPDATE projector.projection_offset SET next_offset = 0": "does not follow from the log",
}


@pytest.mark.anyio
async def test_a_row_that_was_tampered_with_is_found(world: World) -> None:
    await _fill(world)
    topic = world.topics.lifecycle
    async with (
        await connect(world.database_url, "projector") as connection,
        KafkaLogReader(world.kafka, topic) as reader,
    ):
        for tampering, finding in {"SELECT": None, **TAMPERED}.items():
            async with connection.transaction(force_rollback=True):
                await connection.execute(tampering)
                tables = await take_snapshot(connection, TABLES)
            found = Differences()
            with tables:
                await compare_keys(tables, reader, topic.name, {}, found)
            if finding is None:
                assert found.listed == []
            else:
                assert any(finding in difference for difference in found.listed), (tampering, found)


def test_verify_says_equal_different_or_cannot_tell(world: World) -> None:
    assert "there is no schema projector" in _told(_verify(world), 2)
    asyncio.run(world.execute("CREATE SCHEMA projector"))
    assert "schema projector has no version" in _told(_verify(world), 2)
    asyncio.run(world.execute("DROP SCHEMA projector"))
    asyncio.run(_fill(world))
    assert "row for row, up to where the log ended" in _told(_verify(world), 0)
    assert "there is no schema billing" in _told(_hokusai_audit(world, "verify"), 2)
    asyncio.run(world.execute("DELETE FROM projector.lineage"))
    assert "is missing in Postgres" in _told(_verify(world), 1)
    # What is known to differ is told whatever else cannot be told.
    assert "there is no schema billing" in _told(_hokusai_audit(world, "verify"), 1)
    asyncio.run(world.execute("UPDATE projector.schema_version SET version = 999"))
    assert "is of version 999" in _told(_verify(world), 2)


def test_a_schema_in_which_nothing_stands_yet_is_behind_by_the_whole_log(world: World) -> None:
    asyncio.run(_make_schema(world))
    asyncio.run(world.append(lives(12)))
    told = _told(_verify(world, "--wait", "1"), 1)
    assert "records behind the log, at offset 0 of" in told
    assert "not all of it" in told
    told = _told(_verify(world, "--at-position"), 0)
    assert "records behind the log, at offset 0 of" in told
    assert "up to the offsets that it is at" in told


def test_what_is_found_can_be_read_by_a_script(world: World) -> None:
    asyncio.run(_fill(world))
    asyncio.run(world.execute("DELETE FROM projector.lineage"))
    (place,) = asyncio.run(world.append(lives(1)))
    found = json.loads(_hokusai_audit(world, "verify", "--json", "--wait", "0").stdout)
    assert found["equal"] is False
    projector = found["schemas"]["projector"]
    assert projector["differences"] == len(projector["listed"]) == 4
    (lag,) = projector["lag"]
    assert (lag["topic"], lag["partition"], lag["end"]) == (place.topic, place.partition, place.offset + 1)
    assert (projector["unpublished"], projector["due"]) == (0, {})
    assert "no schema billing" in found["cannot_tell"]["billing"]


def test_nothing_is_open_in_postgres_while_the_log_is_read(world: World) -> None:
    """A transaction that is open for hours keeps Postgres from removing dead rows."""
    asyncio.run(_fill(world))
    open_while_reading: list[int] = []
    with psycopg.connect(world.database_url, autocommit=True) as connection:

        def look(done: int, total: int) -> None:
            row = connection.execute(
                "SELECT count(*)::int FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            ).fetchone()
            open_while_reading.append(row[0] if row else -1)

        found = asyncio.run(verify(world.kafka, world.topics, world.database_url, look))
    assert found.problems == []
    assert set(open_while_reading) == {0}


def test_replay_prints_the_log_in_numbers(world: World) -> None:
    asyncio.run(world.append(lives(6)))
    asyncio.run(world.append([a_key_revoked(a_key_rotated(a_key_created()))]))
    asyncio.run(world.append_raw([(None, b"{}")]))
    numbers = json.loads(_hokusai_audit(world, "replay", "--json").stdout)
    assert numbers == {
        "records": 8,
        "applied": 6,
        "ignored": 0,
        "unreadable": 1,
        "dead_letters": 2,
        "lineages": 3,
        "keys": 4,
        "parked_lineages": 1,
    }
    assert "8 records" in _hokusai_audit(world, "replay").stdout


def test_replay_prints_the_whole_history_of_a_key_whichever_of_its_ids_is_asked(world: World) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)
    places = asyncio.run(world.append([created, rotated, rotated, a_key_revoked(rotated), *lives(3)]))
    for key_id in (created.data.key_id, rotated.data.new_key.key_id):
        lines = _lines(_hokusai_audit(world, "replay", "--key", key_id, "--json"))
        assert [line["event"] for line in lines] == ["KeyCreated", "KeyRotated", "KeyRotated", "KeyRevoked"]
        assert [line["outcome"] for line in lines] == ["applied", "applied", "stale sequence", "applied"]
        assert [line["sequence"] for line in lines] == [1, 2, 2, 3]
        first = places[0]
        assert lines[0]["place"] == f"{first.topic}/{first.partition}@{first.offset}"
        assert lines[0]["actor"] == created.actor
    printed = _hokusai_audit(world, "replay", "--key", created.subject).stdout
    assert [line.split()[2] for line in printed.splitlines()[1:]] == [
        "KeyCreated",
        "KeyRotated",
        "KeyRotated",
        "KeyRevoked",
    ], "one line each, as far as there is no terminal to fit into"
    assert created.data.bcrypt_hash not in printed
    unknown = _hokusai_audit(world, "replay", "--key", "00000000-0000-4000-8000-000000000000")
    assert unknown.exit_code == 1


def test_the_history_of_a_key_tells_of_its_refingerprinting_and_prints_no_fingerprint(world: World) -> None:
    created = a_key_created()
    event = a_refingerprinting(created, actor="hokusai-auth/api")
    asyncio.run(world.append([created, event]))
    for form in ([], ["--json"]):
        printed = _hokusai_audit(world, "replay", "--key", created.subject, *form).output
        assert "KeyRefingerprinted" in printed
        assert event.data.fingerprint not in printed
    line = _lines(_hokusai_audit(world, "replay", "--key", created.subject, "--json"))[1]
    assert (line["event"], line["key_id"]) == ("KeyRefingerprinted", created.subject)
    assert (line["sequence"], line["actor"], line["outcome"]) == (2, "hokusai-auth/api", "applied")


def test_a_missing_setting_is_told_in_a_sentence() -> None:
    for command in ("verify", "replay"):
        told = CliRunner().invoke(audit, [command])
        assert told.exit_code == 2
        assert "KAFKA_BOOTSTRAP_SERVERS" in told.stderr


def _told(result: Result, exit_code: int) -> str:
    """What people read, if the command has ended with this code."""
    assert result.exit_code == exit_code, result.output
    return result.output


async def _make_schema(world: World) -> None:
    async with await connect(world.database_url, "projector") as connection:
        await prepare_schema(connection, projector_schema())


async def _fill(world: World) -> None:
    await world.append(lives(12))
    async with world.runner():
        await world.caught_up(12)


def _verify(world: World, *arguments: str) -> Result:
    return _hokusai_audit(world, "verify", "--only", "projector", *arguments)


def _hokusai_audit(world: World, *arguments: str) -> Result:
    return CliRunner().invoke(audit, arguments, env=world.environment())


def _lines(result: Result) -> Sequence[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]
