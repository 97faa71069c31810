"""Which uses a record of keys.usage states, in each content mode and spelling."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import decode, encode
from events.errors import UnreadableRecord
from events.log import OVERSIZED_HEADER
from events.usage import KeyUsed
from events.usage_records import LARGEST_BATCH_BYTES, LARGEST_BATCH_EVENTS, OversizedRecord, decode_uses
from tests.builders import StoredRecord, a_key_created, some_usage

APPENDED_MS = 1_790_000_000_123
USE = some_usage(correlationid="r-1")
ENVELOPE: dict[str, Any] = json.loads(encode(USE))
DATA: dict[str, Any] = ENVELOPE["data"]
NEEDED = {name: ENVELOPE[name] for name in ("specversion", "id", "source", "type", "data")}
OPTIONAL = sorted(ENVELOPE.keys() - NEEDED.keys())
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
BATCHED = (("content-type", b"application/cloudevents-batch+json"),)
SECRET = "hk_live_Zq8wLx0vTnR4mKsPqYd3HbVjUc7GfEaB"  # the shape of a key, and nobody's


def record(value: object, headers: tuple[tuple[str, bytes], ...] = ()) -> StoredRecord:
    written = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return StoredRecord("keys.usage", timestamp=APPENDED_MS, key=b"anything", value=written, headers=headers)


def binary(envelope: Mapping[str, Any] = ENVELOPE, /, **more: bytes) -> tuple[tuple[str, bytes], ...]:
    """The headers of the event in binary mode; `more` go over them."""
    stated = {f"ce_{name}": text.encode() for name, text in envelope.items() if name != "data"}
    stated["content-type"] = stated.pop("ce_datacontenttype", b"application/json")
    return tuple({**stated, **more}.items())


def without(headers: tuple[tuple[str, bytes], ...], name: str) -> tuple[tuple[str, bytes], ...]:
    return tuple(header for header in headers if header[0] != name)


def the_use(one: StoredRecord) -> KeyUsed:
    (use,) = decode_uses(one)
    assert isinstance(use, KeyUsed), use
    return use


def error(one: StoredRecord) -> str:
    (wrong,) = decode_uses(one)
    assert isinstance(wrong, UnreadableRecord)
    return str(wrong)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        STRUCTURED,
        (("Content-Type", b"APPLICATION/CloudEvents+JSON"),),
        (("content-type", b"application/cloudevents"),),
        (("content-type", b"application/json"),),
        (*STRUCTURED, ("ce_id", b"another"), ("ce_type", b"another")),
        (("traceparent", b"00-1-2-01"), ("ce_traceparent", b"00-1-2-01")),
    ],
    ids=["none", "as specified", "in capitals", "no format", "of the data", "of both modes", "of tracing"],
)
def test_structured_is_told_by_the_content_type_or_by_nothing(headers: tuple[tuple[str, bytes], ...]) -> None:
    assert the_use(record(ENVELOPE, headers)) == USE


def test_binary_is_told_by_its_headers() -> None:
    assert the_use(record(DATA, binary())) == USE


@pytest.mark.parametrize("spell", [str.upper, str.title])
def test_header_names_have_no_case(spell: Callable[[str], str]) -> None:
    assert the_use(record(DATA, tuple((spell(name), value) for name, value in binary()))) == USE


def test_the_last_header_of_a_name_counts() -> None:
    assert the_use(record(DATA, (("ce_id", b"first"), *binary()))) == USE


def test_a_header_without_a_value_is_not_there() -> None:
    headers = (*without(binary(), "ce_actor"), ("ce_actor", None))
    assert the_use(record(DATA, headers)).actor is None  # type: ignore[arg-type]


def test_unknown_headers_are_ignored() -> None:
    assert the_use(record(DATA, binary(ce_dataschema=b"\xff", ce_model=b"30", other=b"\xff"))) == USE


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_is_not_needed_to_count_is_optional(name: str) -> None:
    stated = {key: value for key, value in ENVELOPE.items() if key != name}
    default = {"time": _appended(), "datacontenttype": "application/json"}.get(name)
    wanted = USE.model_copy(update={name: default})
    assert the_use(record(stated)) == wanted
    assert the_use(record({**ENVELOPE, name: None})) == wanted, "null stands for absent"
    assert the_use(record(DATA, without(binary(), f"ce_{name}"))) == (
        USE if name == "datacontenttype" else wanted
    )


def test_only_what_is_needed_is_enough() -> None:
    wanted = KeyUsed(id=USE.id, source=USE.source, time=_appended(), data=USE.data)
    assert the_use(record(NEEDED)) == wanted
    assert the_use(record(DATA, without(binary(NEEDED), "content-type"))) == wanted
    assert decode_uses(record([NEEDED], BATCHED)) == [wanted]


def test_nobody_but_a_reader_of_records_dates_a_use() -> None:
    with pytest.raises(UnreadableRecord, match="time: missing"):
        decode(json.dumps(NEEDED).encode())


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_what_is_needed_is_missed(name: str) -> None:
    stated = {key: value for key, value in ENVELOPE.items() if key != name}
    assert error(record(stated)) == error(record(DATA, without(binary(), f"ce_{name}")))
    assert error(record({**ENVELOPE, name: None})) == error(record(stated))


@pytest.mark.parametrize("name", ["subject", "partitionkey"])
def test_what_names_another_key_is_refused(name: str) -> None:
    other = some_usage().data.key_id
    assert error(record({**ENVELOPE, name: other})) == "hokusai.auth.KeyUsed.v1: value_error"
    assert "value_error" in error(record(DATA, binary(**{f"ce_{name}": other.encode()})))


@pytest.mark.parametrize(
    "media_type",
    ["application/json; charset=utf-8", "Application/JSON", "text/json", "application/vnd.hokusai.use+json"],
)
def test_every_media_type_of_json_is_one(media_type: str) -> None:
    assert the_use(record({**ENVELOPE, "datacontenttype": media_type})) == USE
    assert the_use(record(DATA, binary(**{"content-type": media_type.encode()}))) == USE


@pytest.mark.parametrize("media_type", ["application/xml", "json", "application/jsonp", "", "a/json\nb"])
def test_data_of_another_type_is_refused(media_type: str) -> None:
    assert error(record({**ENVELOPE, "datacontenttype": media_type}))
    assert error(record(DATA, binary(**{"content-type": media_type.encode()})))


def test_data_may_be_base64_or_text_that_holds_json() -> None:
    """The first is the JSON format's own for bytes; the second is what some SDKs make of a text."""
    text = json.dumps(DATA)
    rest = {name: value for name, value in ENVELOPE.items() if name != "data"}
    assert the_use(record({**rest, "data_base64": base64.b64encode(text.encode()).decode()})) == USE
    assert the_use(record({**rest, "data": text}, STRUCTURED)) == USE
    assert the_use(record(text, binary())) == USE


@pytest.mark.parametrize("wrong", ["%", "eyI", 7, base64.b64encode(b"{").decode()])
def test_what_is_no_base64_of_json_is_refused(wrong: object) -> None:
    rest = {name: value for name, value in ENVELOPE.items() if name != "data"}
    assert error(record({**rest, "data_base64": wrong})).startswith("data_base64: ")
    assert the_use(record({**ENVELOPE, "data_base64": wrong})) == USE, "data is there as well"


@pytest.mark.parametrize(
    ("value", "headers", "wanted"),
    [
        (None, binary(), "no value"),
        (None, BATCHED, "no value"),
        (b"", binary(), "data: json_invalid"),
        (b"{", BATCHED, "batch: json_invalid"),
        (ENVELOPE, BATCHED, "batch: no array"),
        (DATA, binary(ce_id=b"\xff"), "ce_id: no UTF-8"),
        (DATA, binary(ce_time=b"today"), "hokusai.auth.KeyUsed.v1.time: datetime_parsing"),
        (ENVELOPE, (("content-type", b"application/cloudevents+avro"),), "an event format that is not JSON"),
        (b"[" * 300 + b"]" * 300, binary(), "nested too deeply"),
        (json.loads(encode(a_key_created())), STRUCTURED, "hokusai.auth.KeyCreated.v1 is no use"),
    ],
)
def test_what_is_wrong_is_told(value: object, headers: tuple[tuple[str, bytes], ...], wanted: str) -> None:
    assert error(record(value, headers)) == wanted


def test_what_the_reader_has_left_out_is_oversized() -> None:
    why = "more than 67108864 bytes in offsets 3 to 7"
    (wrong,) = decode_uses(record(None, ((OVERSIZED_HEADER, why.encode()),)))
    assert isinstance(wrong, OversizedRecord)
    assert str(wrong) == f"{why} when unpacked"


@pytest.mark.parametrize("said", [SECRET.encode(), b"7 bytes" + SECRET.encode(), b"", b"\xff"])
def test_whoever_writes_that_header_himself_is_not_quoted(said: bytes) -> None:
    assert error(record(None, ((OVERSIZED_HEADER, said),))) == "no value"
    assert the_use(record(ENVELOPE, ((OVERSIZED_HEADER, b"7 bytes"),))) == USE


def test_each_event_of_a_batch_counts_by_itself() -> None:
    other = some_usage()
    bad = {**ENVELOPE, "data": {**DATA, "status_code": "200"}}
    uses = decode_uses(record([ENVELOPE, bad, json.loads(encode(other)), 7], BATCHED))
    assert [use for use in uses if isinstance(use, KeyUsed)] == [USE, other]
    assert [str(use) for use in uses if isinstance(use, UnreadableRecord)] == [
        "event 2 of 4: hokusai.auth.KeyUsed.v1.data.status_code: int_type",
        "event 4 of 4: dict_type",
    ]


def test_a_batch_may_be_empty() -> None:
    assert decode_uses(record([], BATCHED)) == []


def test_a_batch_is_bounded() -> None:
    most = decode_uses(record(b"[" + b",".join([b"7"] * LARGEST_BATCH_EVENTS) + b"]", BATCHED))
    assert len(most) == LARGEST_BATCH_EVENTS
    too_many = b"[" + b",".join([b"7"] * (LARGEST_BATCH_EVENTS + 1)) + b"]"
    too_large = b" " * (LARGEST_BATCH_BYTES + 1)
    for value in (too_many, too_large):
        (wrong,) = decode_uses(record(value, BATCHED))
        assert isinstance(wrong, OversizedRecord)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([name for name, _ in binary()] + ["CE_ID", "ce_data", "x"]),
            st.none()
            | st.binary(max_size=40)
            | st.sampled_from([value for _, value in (*binary(), *BATCHED)]),
        )
    ),
    st.none() | st.binary(max_size=40) | st.sampled_from([encode(USE), json.dumps(DATA).encode(), b"[{}]"]),
)
def test_whatever_a_record_holds_is_answered(headers: list[tuple[str, Any]], value: bytes | None) -> None:
    assert all(
        isinstance(use, KeyUsed | UnreadableRecord) for use in decode_uses(record(value, tuple(headers)))
    )


def test_no_error_quotes_the_content() -> None:
    values: list[Any] = [SECRET, {SECRET: SECRET}, [SECRET]]
    poison = [record({**ENVELOPE, name: value}) for name in ENVELOPE for value in values]
    poison += [record([{**ENVELOPE, name: value}], BATCHED) for name in ENVELOPE for value in values]
    poison += [record(DATA, binary(**{name: b"\0" + SECRET.encode()})) for name, _ in binary()]
    poison += [record(value, headers) for value in values for headers in (binary(), BATCHED, STRUCTURED)]
    poison += [
        record({**ENVELOPE, "data_base64": SECRET}),
        record({**NEEDED, "data": None, "data_base64": SECRET}),
    ]
    errors = [use for one in poison for use in decode_uses(one) if isinstance(use, UnreadableRecord)]
    assert len(errors) > len(poison) // 2
    assert not any("hk_live_Z" in f"{wrong} {wrong!r}" for wrong in errors)


def _appended() -> datetime:
    return datetime.fromtimestamp(APPENDED_MS / 1000, UTC)
