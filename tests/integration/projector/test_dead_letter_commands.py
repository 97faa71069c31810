"""`hokusai-auth dlq`, as an operator types it, beside a running projector."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from events.codec import encode
from events.kafka_cluster import partition_ends
from events.kafka_log import KafkaEventLog
from events.keys import KeyCreated
from events.log import Position
from events.usage import KeyUsed
from services.dead_letters.command import dlq
from tests.builders import a_key_created, some_usage
from tests.integration.projector.world import World, eventually

pytestmark = pytest.mark.anyio

SECRET = "hk_live_" + "s" * 32
WHO = ("--actor", "oncall", "--reason", "its key is here now", "--yes")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", world.kafka.bootstrap_servers)
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", world.topics.prefix)


async def run(*arguments: str) -> tuple[int, str, str]:
    result = await asyncio.to_thread(CliRunner().invoke, dlq, arguments)
    return result.exit_code, result.stdout, result.stderr


async def run_as_process(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "dlq", *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def letters(*arguments: str) -> list[dict[str, Any]]:
    code, out, _ = await run("list", "--json", *arguments)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


async def there_are(count: int, *arguments: str) -> None:
    async def counted() -> bool:
        return len(await letters(*arguments)) == count

    await eventually(counted, f"{count} letters of {arguments}")


async def counts(world: World, count: int) -> None:
    async def counted() -> bool:
        return bool(await world.value("SELECT coalesce(sum(requests), 0) FROM projector.usage_hour") == count)

    await eventually(counted, f"{count} uses to count")


def text(place: Position) -> str:
    return str(place)


def uses_of(key: KeyCreated, count: int) -> list[KeyUsed]:
    return [some_usage(key_id=key.subject, id=f"use {number}") for number in range(count)]


async def test_uses_that_came_before_their_key_are_replayed_and_count_once(world: World) -> None:
    """The runbook of docs/operations.md: look, replay too early, replay, replay again, compare, rebuild."""
    key = a_key_created()
    process = world.projector()
    uses = uses_of(key, 3)
    places = [text(place) for place in await world.append_usage(uses)]
    await there_are(3, "--reason", "unknown key")
    assert {letter["coordinates"] for letter in await letters()} == set(places)

    code, out, _ = await run("replay", *WHO)
    assert (code, out.splitlines()[-1]) == (0, "3 of 3 letters are replayed")
    await there_are(3)  # the key is not here: each was refused again, in its old place
    assert {letter["coordinates"] for letter in await letters("--all")} == set(places)

    await world.append([key])
    await world.append_usage(uses[:1])
    await counts(world, 1)
    for _ in range(2):
        code, _, err = await run("replay", "--actor", "oncall", "--reason", "late", "--dry-run")
        assert (code, err) == (0, "3 letters are meant\n")
    both = await asyncio.gather(*(run_as_process("replay", *WHO) for _ in range(2)))
    assert both == [0, 0]
    assert (await run("replay", places[0], *WHO))[0] == 0
    await counts(world, 3)
    appended = sum((await partition_ends(world.kafka, world.topics.usage)).values())
    assert appended >= 3 + 3 + 1 + 3 + 1
    await world.uses_settled(appended)
    assert await letters() == []
    [one, *_] = await letters("--all")
    assert (one["state"], one["actor"], one["why"]) == ("replayed", "oncall", "its key is here now")

    process.kill()
    await world.execute("DROP SCHEMA projector CASCADE")
    world.projector()
    await world.uses_settled(appended)
    await counts(world, 3)
    assert await letters() == []


async def test_what_would_be_refused_again_is_not_replayed_and_skipped_with_a_reason(world: World) -> None:
    world.projector()
    (use,) = await world.append_raw([(b"some key", b'{"no": "use"}')], world.topics.usage)
    (event,) = await world.append_raw([(b"some lineage", b"{")])
    await there_are(2)
    for place, sentence in (
        (use, "would be again"),
        (event, "in its lineage's history"),
        (Position(use.topic, use.partition, 4711), "there is no letter of"),
        (Position(f"{world.topics.prefix}usage.hourly", 0, 1), "there is no letter of"),
    ):
        code, _, err = await run("replay", text(place), *WHO)
        assert (code, sentence in err) == (2, True), err
    code, _, err = await run("replay", *WHO)
    assert (code, err) == (0, "2 others would be refused again: see --help\n0 letters are meant\n")

    code, out, _ = await run("skip", text(use), "--actor", "oncall", "--reason", "a test of ours", "--yes")
    assert (code, out.splitlines()[-1]) == (0, "1 of 1 letters are skipped")
    assert [letter["coordinates"] for letter in await letters()] == [text(event)]
    assert [letter["coordinates"] for letter in await letters("--topic", world.topics.lifecycle.name)] == [
        text(event)
    ]
    skipped = next(letter for letter in await letters("--all") if letter["coordinates"] == text(use))
    assert (skipped["state"], skipped["actor"], skipped["why"]) == ("skipped", "oncall", "a test of ours")
    assert len(await world.read(world.topics.usage)) == 1
    code, out, _ = await run("list", "--all")
    assert f"{text(use)}  unreadable  " in out
    assert "  skipped by oncall  " in out


async def test_where_one_letter_fails_the_others_go_on_and_it_is_told_with_1(world: World) -> None:
    world.projector()
    await world.append_usage([some_usage()])
    gone = {"topic": world.topics.usage.name, "partition": "3", "offset": "4711", "reason": "unknown key"}
    async with KafkaEventLog(world.kafka) as log:
        headers = [(name, value.encode()) for name, value in gone.items()]
        await log.append(world.topics.usage_dead_letters.name, b"key", b"value", headers)
    await there_are(2)
    code, _, err = await run("replay", *WHO)
    assert code == 1
    assert "4711 is not in the log any more" in err
    assert err.splitlines()[-1] == "1 of 2 letters are replayed"
    code, out, _ = await run("show", f"{world.topics.usage.name}/3@4711")
    assert code == 0
    assert "is not in the log any more" in out


async def test_nothing_is_done_before_somebody_has_agreed(world: World) -> None:
    world.projector()
    await world.append_usage([some_usage()])
    await there_are(1)
    for command in ("replay", "skip"):
        code, _, err = await run(command, "--actor", "oncall", "--reason", "a test")
        assert code == 1
        assert "1 letters will be" in err
    assert len(await letters()) == 1
    assert len(await world.read(world.topics.usage)) == 1


async def test_a_letter_is_shown_whole_but_for_keys_and_control_codes(world: World) -> None:
    world.projector()
    value = json.loads(encode(some_usage()))
    value["data"]["endpoint"] = f"/predict?key={SECRET}"
    hostile = b"\x1b[2J not json " + SECRET.encode()
    one, other = await world.append_raw(
        [(b"a", json.dumps(value).encode()), (b"b", hostile)], world.topics.usage
    )
    await there_are(2)
    code, out, _ = await run("show", text(one))
    assert code == 0
    assert '"endpoint": "/predict?key=hk_live_sss***"' in out
    for shown in (
        "state     open",
        "reason    unknown key",
        "key       a",
        f"{world.topics.prefix}keys.usage.dlq/",
    ):
        assert shown in out
    code, out, _ = await run("show", text(other))
    assert code == 0
    assert "\\x1b[2J not json hk_live_sss***" in out
    assert SECRET not in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    "arguments", [("list",), ("show", "keys.usage/0@0"), ("skip", *WHO)], ids=["list", "show", "skip"]
)
async def test_a_log_without_these_topics_is_told_with_2(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", "nobodys.")
    code, out, err = await run(*arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
