"""Records that cannot be followed: dead letters with coordinates, others unaffected, lineages parked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from events.codec import encode
from events.keys import KeyCreated
from events.log import Position
from tests.builders import a_key_created, a_key_revoked, a_key_rotated, fresh_id, some_usage
from tests.integration.projector.world import World
from tests.log_records import headers_of, place_of

pytestmark = pytest.mark.anyio

CANARY = "do-not-quote-me"


def _changed(event: KeyCreated, change: Callable[[dict[str, Any]], object]) -> bytes:
    envelope = json.loads(encode(event))
    change(envelope)
    return json.dumps(envelope).encode()


async def test_each_kind_of_poison_becomes_a_dead_letter_and_the_others_go_on(world: World) -> None:
    event = a_key_created(name=CANARY)
    key = event.partitionkey.encode()
    poison: dict[str, tuple[bytes | None, bytes | None]] = {
        "json_invalid": (key, b'{"broken' + CANARY.encode()),
        "unknown type": (key, _changed(event, lambda e: e.update(type="hokusai.auth.KeyPainted.v1"))),
        "unknown type ": (key, _changed(event, lambda e: e.update(type="hokusai.auth.KeyCreated.v99"))),
        "missing": (key, _changed(event, lambda e: e["data"].pop("user_id"))),
        "no record key": (None, encode(event)),
        "record key differs": (fresh_id().encode(), encode(event)),
        "no value": (key, None),
        "not a lifecycle event": (key, encode(some_usage())),
        "json_invalid ": (b"\x00 \xff not a lineage", b"\x00"),
        "string_pattern_mismatch": (key, _changed(event, lambda e: e["data"].update(name="NUL \0"))),
        "less_than_equal": (key, _changed(event, lambda e: e.update(sequence=2**63))),
        "value_error": (key, _changed(event, lambda e: e.update(time="0001-01-01T00:00:00+14:00"))),
        "json_invalid  ": (key, CANARY.encode() * 69_000),
    }
    good = a_key_created()
    async with world.runner():
        await world.append([good])
        places = await world.append_raw(poison.values())
        await world.append([a_key_rotated(good)])
        await world.caught_up(len(poison) + 2)
    letters = {place_of(letter): letter for letter in await world.read(world.topics.lifecycle_dead_letters)}
    assert len(letters) == len(poison)
    for (reason, (key_bytes, value)), place in zip(poison.items(), places, strict=True):
        letter = letters[place.topic, place.partition, place.offset]
        assert reason.strip() in headers_of(letter)["error"]
        assert CANARY not in headers_of(letter)["error"]
        assert headers_of(letter)["time"].endswith("Z")
        assert letter.key == key_bytes
        assert letter.value == (value if len(value or b"") < 900_000 else None)
        assert reason.strip() in await _outcome(world, place)
    assert (
        await world.value("SELECT count(*) FROM projector.keys WHERE lineage_id = %s", good.partitionkey) == 2
    )
    assert await world.value("SELECT count(*) FROM projector.lineage") == 1
    counted = b'projector_dead_letters_total{projection="keys",reason="unreadable"} 13.0'
    assert counted in world.metrics.text()


async def test_a_flood_of_poison_is_swallowed_too(world: World) -> None:
    """All of one partition, so that one batch holds thousands."""
    key = fresh_id().encode()
    await world.append_raw([(key, b"{")] * 4000)
    async with world.runner():
        await world.caught_up(4000)
    assert len({place_of(letter) for letter in await world.read(world.topics.lifecycle_dead_letters)}) == 4000


async def test_an_unreadable_record_under_a_known_key_parks_its_lineage(world: World) -> None:
    parked, other = a_key_created(), a_key_created()
    await world.append([parked, other])
    await world.append_raw([(parked.partitionkey.encode(), b"{}")])
    await world.append([a_key_revoked(parked), a_key_revoked(other)])
    async with world.runner():
        await world.caught_up(5)
    reason = await _parked(world, parked)
    assert reason is not None
    assert reason.startswith("unreadable record")
    assert await _parked(world, other) is None
    revoked = "SELECT revoked_at IS NOT NULL FROM projector.keys WHERE key_id = %s"
    assert await world.value(revoked, parked.subject) is False
    assert await world.value(revoked, other.subject) is True
    assert len(await world.read(world.topics.lifecycle_dead_letters)) == 1


async def test_a_gap_parks_its_lineage_though_no_key_of_it_is_known(world: World) -> None:
    created = a_key_created()
    lost = a_key_rotated(created)
    (place,) = await world.append([a_key_revoked(lost)])
    async with world.runner():
        await world.caught_up(1)
    assert await _parked(world, created) == "gap: sequence 3 after 0"
    (letter,) = await world.read(world.topics.lifecycle_dead_letters)
    assert place_of(letter) == (place.topic, place.partition, place.offset)


async def test_a_key_id_that_another_lineage_has_stops_nobody(world: World) -> None:
    """No writer of ours issues it, but the projector must not die of it."""
    one, other = a_key_created(), a_key_created()
    await world.append([one, other, a_key_rotated(one, new_key_id=other.subject)])
    async with world.runner():
        await world.caught_up(3)


async def _outcome(world: World, place: Position) -> str:
    query = "SELECT outcome FROM projector.key_event WHERE partition = %s AND record_offset = %s"
    return str(await world.value(query, place.partition, place.offset))


async def _parked(world: World, event: KeyCreated) -> str | None:
    reason: str | None = await world.value(
        "SELECT parked FROM projector.lineages WHERE lineage_id = %s", event.partitionkey
    )
    return reason
