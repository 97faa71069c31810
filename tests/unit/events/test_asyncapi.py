"""The generated documents say what the models do, and are those that are checked in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from events.asyncapi import EVENTS, EXAMPLES, SCHEMAS, TOTALS, differences, documents, write
from events.codec import Event, Total, decode, decode_total, encode
from events.dead_letters import DeadLetter
from events.envelope import CloudEvent, Envelope, Fact
from events.errors import UnreadableRecord
from events.json_schema import json_schema, schema_name
from events.topics import Topics
from events.usage import KeyUsed
from tests.builders import (
    CREATED_AT,
    StoredRecord,
    a_key_created,
    a_key_revoked,
    a_key_rotated,
    a_refingerprinting,
    some_usage,
)
from tests.totals import (
    a_statement_closed,
    a_window_count,
    some_hourly_usage,
    some_published_usage,
    some_statement_revisions,
)

DOCUMENT: dict[str, Any] = json.loads((SCHEMAS / "asyncapi.json").read_bytes())
CREATED = a_key_created(scopes=("predict",), lifetime_days=30, correlationid="r-1")
SAMPLES: list[Event | Total] = [
    CREATED,
    a_key_rotated(CREATED, valid_until=CREATED_AT),
    a_key_revoked(CREATED),
    a_refingerprinting(CREATED),
    some_usage(),
    some_hourly_usage(),
    a_window_count(),
    a_statement_closed(),
    a_statement_closed(parts=2, digest="0123456789abcdef" * 4),
    some_statement_revisions(),
    some_published_usage(),
]

every_message = pytest.mark.parametrize("message", [*EVENTS, *TOTALS], ids=schema_name)
every_cloudevent = pytest.mark.parametrize(
    "event", [message for message in (*EVENTS, *TOTALS) if issubclass(message, CloudEvent)], ids=schema_name
)


def test_the_files_are_what_the_models_say() -> None:
    assert differences() == [], "run: python -m events.asyncapi"


def test_a_file_that_is_changed_missing_or_left_over_is_found_and_mended(tmp_path: Path) -> None:
    folder = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, folder)
    assert differences(folder) == []
    changed = folder / "KeyCreated.v1.json"
    changed.write_bytes(changed.read_bytes().replace(b'"maxLength": 100', b'"maxLength": 101'))
    (folder / "asyncapi.json").unlink()
    (folder / "KeyCreated.v0.json").write_text("{}")
    assert differences(folder) == ["KeyCreated.v0.json", "KeyCreated.v1.json", "asyncapi.json"]
    write(folder)
    assert differences(folder) == []


def test_a_field_more_in_a_model_is_found_as_a_difference() -> None:
    class KeyCreated(EVENTS[0]):  # type: ignore[misc, valid-type]
        unheard_of: int

    assert json_schema(KeyCreated) != json.loads((SCHEMAS / "KeyCreated.v1.json").read_bytes())


@every_message
def test_each_schema_is_valid_json_schema_2020_12(message: type[Fact]) -> None:
    schema = json.loads(documents()[schema_name(message)])
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@every_cloudevent
def test_each_schema_asks_for_what_cloudevents_and_the_codec_ask_for(event: type[CloudEvent]) -> None:
    required = {"specversion", "id", "source", "type", "data"}
    required |= set() if issubclass(event, KeyUsed) else {"subject", "time", "partitionkey"}
    required |= {"actor"} if issubclass(event, Envelope) else set()
    assert required <= set(json_schema(event)["required"])


def test_the_schema_of_a_use_asks_for_nothing_that_is_not_needed_to_count() -> None:
    assert set(json_schema(KeyUsed)["required"]) == {"specversion", "id", "source", "type", "data"}
    written = json.loads(encode(some_usage()))
    validator = Draft202012Validator(json_schema(KeyUsed))
    assert validator.is_valid({**written, "datacontenttype": "application/json; charset=utf-8"})
    assert not validator.is_valid({**written, "datacontenttype": "application/xml"})


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_what_is_written_keeps_to_its_schema_and_an_unknown_field_does_not(event: Event | Total) -> None:
    validator = Draft202012Validator(json_schema(type(event)))
    written = json.loads(encode(event))
    assert validator.is_valid(written)
    assert not validator.is_valid({**written, "unheard_of": 1})


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)


@given(st.sampled_from(SAMPLES), VALUES | st.lists(VALUES, max_size=2), st.data())
def test_what_readers_accept_keeps_to_the_schema(
    event: Event | Total, value: Any, data: st.DataObject
) -> None:
    written = json.loads(encode(event))
    part, name = data.draw(st.sampled_from(list(_places(written))))
    part[name] = value
    reader = decode_total if isinstance(event, Total) else decode
    try:
        read = reader(json.dumps(written).encode())
    except UnreadableRecord:
        return
    assert Draft202012Validator(json_schema(type(read))).is_valid(written)


def test_every_topic_is_a_channel_with_its_policy() -> None:
    kafka = {channel["address"]: channel["bindings"]["kafka"] for channel in DOCUMENT["channels"].values()}
    for topic in Topics().all():
        stated = kafka.pop(topic.name)
        assert stated["partitions"] == topic.partitions
        policy = stated["topicConfiguration"]
        assert policy.pop("cleanup.policy") == topic.configuration["cleanup.policy"].split(",")
        assert {name: str(value) for name, value in policy.items()}.items() <= topic.configuration.items()
        assert ("retention.ms" in policy) == ("retention.ms" in topic.configuration)
    assert not kafka


def test_every_event_is_a_message_of_a_channel_and_refers_to_its_schema() -> None:
    carried = {
        message["$ref"]
        for channel in DOCUMENT["channels"].values()
        for message in channel["messages"].values()
    }
    assert carried == {f"#/components/messages/{name}" for name in DOCUMENT["components"]["messages"]}
    for message in (*EVENTS, *TOTALS):
        payload = DOCUMENT["components"]["messages"][message.__name__]["payload"]
        assert (SCHEMAS / payload["$ref"]).exists()


def test_every_topic_says_what_is_in_it() -> None:
    assert all(channel["messages"] for channel in DOCUMENT["channels"].values())


@pytest.mark.parametrize(
    ("channel", "example"), [("usage", "emit_usage.py"), ("hourly_usage", "hourly_totals.py")]
)
def test_the_examples_are_shown_whole_and_short_enough_to_copy(channel: str, example: str) -> None:
    program = (EXAMPLES / example).read_text("utf-8")
    assert program in DOCUMENT["channels"][channel]["description"]
    assert len(program.splitlines()) < 30


def test_every_reference_inside_the_document_leads_somewhere() -> None:
    references = [value for part, name in _places(DOCUMENT) if name == "$ref" for value in [part[name]]]
    assert references
    for reference in references:
        if reference.startswith("#/"):
            target: Any = DOCUMENT
            for name in reference[2:].split("/"):
                target = target[name]


def test_outsiders_send_use_and_nothing_else() -> None:
    sent = [name for name, operation in DOCUMENT["operations"].items() if operation["action"] == "send"]
    assert sent == ["emitUsage"]


def test_a_dead_letter_has_the_headers_that_are_described() -> None:
    record = StoredRecord(partition=3, offset=7, key=b"k", value=b"{", headers=(("trace", b"1"),))
    letter = DeadLetter(record, "unreadable", "json_invalid")
    described = DOCUMENT["components"]["messages"]["DeadLetter"]["headers"]
    whole, bare = letter.contents().headers, letter.contents(largest_bytes=0).headers
    assert [name for name, _ in whole] == [*described["required"], "original.trace"]
    assert [name for name, _ in bare] == list(described["properties"])
    for headers in (whole, bare):
        Draft202012Validator(described).validate({name: value.decode() for name, value in headers})


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (part, name) inside a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield value, name
        yield from _places(part)
