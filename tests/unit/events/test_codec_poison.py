"""Whatever a record holds, reading it ends in an event or in `UnreadableRecord`, without its content."""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import Event, decode, encode
from events.errors import UnreadableRecord
from events.keys import is_bcrypt_hash
from events.usage import KeyUsed
from tests.bcrypt_hashes import BAD
from tests.builders import (
    CREATED_AT,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    some_usage,
)

CREATED = a_key_created(
    scopes=("predict",),
    allowed_ips=("10.0.0.0/8",),
    lifetime_days=30,
    monthly_prediction_limit=5,
    correlationid="r-1",
)
ROTATED = a_key_rotated(CREATED, valid_until=CREATED_AT)
REVOKED = a_key_revoked(ROTATED)
REFINGERPRINTED = a_refingerprinting(ROTATED)
USED = some_usage()
EVENTS: list[Event] = [CREATED, ROTATED, REVOKED, REFINGERPRINTED, USED]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything inside a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield (*path, name)
        yield from places(part, (*path, name))


def changed(event: Event, path: tuple[str | int, ...], value: Any) -> bytes:
    """The event's bytes with another value at the path."""
    written = json.loads(encode(event))
    part = written
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return json.dumps(written).encode()


def reason(value: bytes | None) -> str:
    with pytest.raises(UnreadableRecord) as caught:
        decode(value)
    return str(caught.value)


def is_answered(value: bytes | None) -> None:
    with contextlib.suppress(UnreadableRecord):
        decode(value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_answered(value: bytes) -> None:
    is_answered(value)


@given(JSON)
def test_arbitrary_json_is_answered(value: Any) -> None:
    is_answered(json.dumps(value).encode())


@given(JSON, JSON)
def test_any_type_with_any_data_is_answered(type_name: Any, data: Any) -> None:
    is_answered(json.dumps({"type": type_name, "data": data}).encode())


@given(st.sampled_from(EVENTS), JSON, st.data())
def test_a_valid_event_with_anything_anywhere_is_answered(
    event: Event, value: Any, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(list(places(json.loads(encode(event))))))
    is_answered(changed(event, path, value))


@given(st.sampled_from(EVENTS), st.data())
def test_a_damaged_event_is_answered(event: Event, data: st.DataObject) -> None:
    value = bytearray(encode(event))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] = data.draw(st.integers(0, 255))
    is_answered(bytes(value))
    is_answered(bytes(value[:place]))


@given(st.sampled_from(EVENTS), st.data())
def test_an_event_that_lacks_a_field_is_answered(event: Event, data: st.DataObject) -> None:
    written = json.loads(encode(event))
    path = data.draw(st.sampled_from([path for path in places(written) if isinstance(path[-1], str)]))
    part = written
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    is_answered(json.dumps(written).encode())


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "no value"),
        (b"", "json_invalid"),
        (b"\xff\xfe", "json_invalid"),
        (b"{", "json_invalid"),
        (b"[" * 100_000, "json_invalid"),
        (b'{"a":' * 100_000, "json_invalid"),
        (b"null", "dict_type"),
        (b"[]", "dict_type"),
        (b"{}", "union_tag_not_found"),
        (b'{"type":[]}', "unknown type"),
        (b'{"type":{}}', "unknown type"),
        (b'{"type":null}', "unknown type"),
        (b'{"type":"\\ud800"}', "json_invalid"),
        (b'{"type":"hokusai.auth.KeyCreated.v2"}', "unknown type"),
        (b'{"type":"hokusai.auth.KeyRevoked.v1"}', "hokusai.auth.KeyRevoked.v1.source: missing"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_event_says_why(value: bytes | None, why: str) -> None:
    assert reason(value) == why


@pytest.mark.parametrize(
    ("event", "path", "value"),
    [
        (CREATED, ("data", "name"), "a\x00b"),
        (CREATED, ("actor",), "\x00"),
        (CREATED, ("data", "scopes"), ["predict\x00"]),
        (CREATED, ("data", "bcrypt_hash"), "\x00" * 60),
        (CREATED, ("sequence",), 2**63),
        (CREATED, ("data", "rate_limit_per_hour"), 2**63),
        (CREATED, ("data", "monthly_prediction_limit"), 2**63),
        (CREATED, ("data", "lifetime_days"), 2**63),
        (CREATED, ("data", "expires_at"), "0001-01-01T00:00:00+05:00"),
        (CREATED, ("time",), "9999-12-31T23:59:59-05:00"),
        (CREATED, ("time",), "2026-01-15T10:30:00"),
        (REFINGERPRINTED, ("data", "pepper_id"), "\x00"),
        (REFINGERPRINTED, ("data", "fingerprint"), "00" * 31),
        (REFINGERPRINTED, ("data", "fingerprint"), "FF" * 32),
        (USED, ("data", "endpoint"), "\x00"),
        (USED, ("data", "response_time_ms"), float("nan")),
        (USED, ("data", "response_time_ms"), float("inf")),
        (USED, ("data", "predictions_count"), -1),
    ],
)
def test_what_no_store_could_keep_is_no_event(event: Event, path: tuple[str, ...], value: Any) -> None:
    """A record that every reader accepts and Postgres refuses would stop the projections for ever."""
    assert reason(changed(event, path, value))


@pytest.mark.parametrize(
    ("event", "path"),
    [(CREATED, ("data", "bcrypt_hash")), (ROTATED, ("data", "new_key", "bcrypt_hash"))],
    ids=["created", "rotated"],
)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_hash_that_nobody_could_check_is_in_no_event(event: Event, path: tuple[str, ...], bad: str) -> None:
    assert reason(changed(event, path, bad)) == f"{event.type}.{'.'.join(path)}: string_pattern_mismatch"


@pytest.mark.parametrize("rounds", [4, 5])
def test_what_bcrypt_makes_is_a_hash_whatever_its_salt(rounds: int) -> None:
    for _ in range(50):
        made = bcrypt.hashpw(b"secret", bcrypt.gensalt(rounds)).decode()
        assert is_bcrypt_hash(made)
        decode(changed(CREATED, ("data", "bcrypt_hash"), made))


def test_bcrypt_itself_checks_whatever_is_called_a_hash() -> None:
    """And what it refuses is not called one: it raises for a salt that ends in any other character."""
    for last in "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789":
        stored = f"$2b$04${'a' * 21}{last}{'a' * 31}"
        try:
            bcrypt.checkpw(b"secret", stored.encode())
        except ValueError:
            assert not is_bcrypt_hash(stored)
        else:
            assert is_bcrypt_hash(stored)


@pytest.mark.parametrize(
    ("event", "path", "value"),
    [
        (CREATED, ("sequence",), "1"),
        (CREATED, ("sequence",), True),
        (CREATED, ("sequence",), 1.0),
        (CREATED, ("time",), 1768473000),
        (CREATED, ("data", "name"), 7),
        (CREATED, ("data", "scopes"), "predict"),
        (CREATED, ("data", "rate_limit_per_hour"), "1000"),
        (USED, ("data", "status_code"), "200"),
        (USED, ("data", "response_time_ms"), "12.5"),
    ],
)
def test_a_value_of_a_wrong_type_is_no_event(event: Event, path: tuple[str, ...], value: Any) -> None:
    """Nothing is guessed from another type: what the JSON Schemas refuse, readers refuse."""
    assert reason(changed(event, path, value)).startswith(f"{event.type}.{'.'.join(path)}: ")


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (CREATED, ("subject",)),
        (CREATED, ("partitionkey",)),
        (CREATED, ("data", "key_id")),
        (CREATED, ("data", "lineage_id")),
        (ROTATED, ("subject",)),
        (ROTATED, ("partitionkey",)),
        (ROTATED, ("data", "key_id")),
        (ROTATED, ("data", "new_key", "lineage_id")),
        (REVOKED, ("subject",)),
        (REVOKED, ("data", "key_id")),
        (REFINGERPRINTED, ("subject",)),
        (REFINGERPRINTED, ("data", "key_id")),
        (USED, ("subject",)),
        (USED, ("partitionkey",)),
        (USED, ("data", "key_id")),
    ],
)
def test_an_event_that_names_two_keys_for_one_is_no_event(event: Event, path: tuple[str, ...]) -> None:
    another = "00000000-0000-7000-8000-000000000000"
    assert reason(changed(event, path, another)) == f"{event.type}: value_error"


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (event, name)
        for event in EVENTS
        for name in ("specversion", "id", "source", "subject", "time", "partitionkey", "actor")
        if not (isinstance(event, KeyUsed) and name in {"subject", "partitionkey", "actor"})
    ],
)
def test_an_event_that_does_not_say_who_what_and_when_is_no_event(event: Event, name: str) -> None:
    """A default would be another one at every reading: each replay would count and date it anew."""
    written = json.loads(encode(event))
    del written[name]
    assert reason(json.dumps(written).encode()) == f"{event.type}.{name}: missing"


SECRET = "hk_live_Zq8wLx0vTnR4mKsPqYd3HbVjUc7GfEaB"  # the shape of a key, and nobody's


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_no_error_quotes_the_content(event: Event) -> None:
    """A dead letter's header, a log line and a traceback may carry the reason; none may carry a secret."""
    written = json.loads(encode(event))
    values: list[Any] = [SECRET, [SECRET], {SECRET: SECRET}, SECRET * 20, f"\x00{SECRET}"]
    poison = [changed(event, path, value) for path in places(written) for value in values]
    poison += [encode(event)[:-9] + SECRET.encode(), SECRET.encode(), f'"{SECRET}"'.encode()]
    refused = 0
    for value in poison:
        try:
            decode(value)
        except UnreadableRecord as error:
            refused += 1
            told = f"{error} {error!r} {''.join(traceback.format_exception(error))}"
            assert "hk_live_Z" not in told
    assert refused > len(written)
