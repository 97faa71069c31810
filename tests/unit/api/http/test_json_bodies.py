"""JSON is read strictly: what two readers may understand differently is refused."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.http.json_bodies import EncodedBody, MalformedBody, read_json, refuse_encoded


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a":1,"a":2}', "a"),
        (b'{"a":1,"a":1}', "a"),
        (b'{"a" : 1 , "b":2, "a"\t:\n3}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"a":"1","a":"x\\u003ay"}', "a"),
        (b'{"a":"x:y","a":"1"}', "a"),
        (b'{"a":"1","b":"x:y","a":null}', "a"),
        (b'{"a":{"b":1,"b":2}}', "b"),
        (b'[{"b":1,"b":2}]', "b"),
        (b'{"c":[{"b":{}},{"d":[{"b":1,"b":2}]}]}', "b"),
        (b'\xef\xbb\xbf{"a":1,"a":2}', "a"),
        (b'{"":1,"":2}', ""),
    ],
)
def test_a_member_given_twice_is_named(body: bytes, name: str) -> None:
    with pytest.raises(MalformedBody, match=f"^{name}: given more than once$"):
        read_json(body)


NAMES = st.sampled_from(["a", "b", "api_key", "a:b", ":", '"', "\\"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([":", "a:b", '":"', "\\:", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@given(VALUES, st.booleans())
def test_what_has_no_member_twice_is_read_as_it_is(value: Any, is_spaced: bool) -> None:
    body = json.dumps(value, indent=1).encode() if is_spaced else orjson.dumps(value)
    assert read_json(body) == value


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4), VALUES)
def test_a_member_twice_is_always_found(members: list[tuple[str, Any]], again: Any) -> None:
    twice = [*members, (members[0][0], again)]
    pairs = b",".join(orjson.dumps(name) + b":" + orjson.dumps(value) for name, value in twice)
    with pytest.raises(MalformedBody, match="given more than once"):
        read_json(b"{" + pairs + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'{"a":1}x',
        "{}".encode("utf-16"),
        "{}".encode("utf-32"),
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"[" * 5000,
        b"\x1f\x8b\x08\x00",
        b"a=1",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_json(body)


def test_numbers_of_any_length_do_not_trouble_the_search_for_members_given_twice() -> None:
    assert read_json(b'{"a":{"b":%s}}' % (b"1" * 300))["a"]["b"] > 0


def test_deep_nesting_is_an_answer_not_a_failure() -> None:
    body = b'{"a":' * 1000 + b"1" + b"}" * 1000
    with pytest.raises(MalformedBody):
        read_json(body)


def test_a_byte_order_mark_is_dropped() -> None:
    assert read_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, identity", b"x"])
def test_a_compressed_body_is_refused(coding: bytes) -> None:
    with pytest.raises(EncodedBody):
        refuse_encoded({b"content-encoding": coding})


@pytest.mark.parametrize("headers", [{}, {b"content-encoding": b""}, {b"content-encoding": b" Identity "}])
def test_a_body_as_it_is_is_read(headers: dict[bytes, bytes]) -> None:
    refuse_encoded(headers)
