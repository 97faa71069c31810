"""The agreement for readers of other languages: JSON Schemas and an AsyncAPI document, from the models.

`python -m events.asyncapi` writes them into `events/schemas/`; they are checked in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import orjson

from events.channels import CHANNELS, Channel
from events.codec import Event, Total
from events.envelope import CloudEvent, Fact
from events.json_schema import event_type, json_schema, schema_name
from events.topics import Topic, Topics
from events.usage import KeyUsed
from events.usage_records import LARGEST_BATCH_BYTES, LARGEST_BATCH_EVENTS, LARGEST_VALUE_BYTES

SCHEMAS = Path(__file__).parent / "schemas"
EXAMPLES = Path(__file__).parents[1] / "examples"
EVENTS: tuple[type[CloudEvent], ...] = get_args(Event)
TOTALS: tuple[type[Fact], ...] = get_args(Total)
CLOUDEVENT = "application/cloudevents+json; charset=utf-8"
JSON = "application/json; charset=utf-8"
CONTENT_MODES = (
    "The payload is that of structured mode. The binary mode of the CloudEvents Kafka binding (`ce_id`, "
    "`ce_type`, ... as headers, the value is `data`) is read as well, and so is "
    f"`application/cloudevents-batch+json`: an array of up to {LARGEST_BATCH_EVENTS} events, each of which "
    f"counts by itself. A value has up to {LARGEST_VALUE_BYTES // 1024} KiB, that of a batch up to "
    f"{LARGEST_BATCH_BYTES // 1024} KiB."
)


def documents() -> dict[str, bytes]:
    """Every generated document: file name to content."""
    schemas = {schema_name(event): json_schema(event) for event in (*EVENTS, *TOTALS)}
    return {name: _json(content) for name, content in {**schemas, "asyncapi.json": asyncapi()}.items()}


def differences(folder: Path = SCHEMAS) -> list[str]:
    """Names of the files in the folder that are not what the models say: changed, missing or left over."""
    agreed = documents()
    found = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    return sorted(name for name in agreed.keys() | found.keys() if agreed.get(name) != found.get(name))


def write(folder: Path = SCHEMAS) -> None:
    """Make the folder hold the generated documents and no other."""
    folder.mkdir(exist_ok=True)
    agreed = documents()
    for name in differences(folder):
        if name in agreed:
            (folder / name).write_bytes(agreed[name])
        else:
            (folder / name).unlink()


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3.0 document: every topic, and what emitters, billing teams and auditors do there."""
    topics = Topics()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hokusai Auth: the log",
            "version": "1.0.0",
            "description": (
                "Facts about API keys and their use, and what follows from them, as CloudEvents 1.0 "
                "(structured JSON) in Kafka records; counters of rate limits are plain JSON. "
                "Addresses are those without a prefix; an environment may put its own before each of them. "
                "Replication is a setting of the environment too."
            ),
        },
        "defaultContentType": CLOUDEVENT,
        "channels": {
            channel.topic: _channel(channel, getattr(topics, channel.topic)) for channel in CHANNELS
        },
        "operations": {
            name: {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel.topic}"},
                "messages": [
                    {"$ref": f"#/channels/{channel.topic}/messages/{message}"} for message in channel.messages
                ],
            }
            for channel in CHANNELS
            for name, action in channel.operations.items()
        },
        "components": {
            "messages": {
                **{event.__name__: _message(event) for event in (*EVENTS, *TOTALS)},
                "DeadLetter": DEAD_LETTER,
                "DeadLetterNote": DEAD_LETTER_NOTE,
            }
        },
    }


def _channel(channel: Channel, topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "summary": channel.summary,
        "description": f"Record key: {topic.record_key}.{_quoted(channel.example)}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in channel.messages},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {
                    name: _binding_value(name, value)
                    for name, value in topic.configuration.items()
                    if name != "min.insync.replicas"
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _quoted(example: str | None) -> str:
    if example is None:
        return ""
    program = (EXAMPLES / example).read_text("utf-8")
    return f" For example, with the package `events`:\n\n```python\n{program}```\n"


def _binding_value(name: str, value: str) -> Any:
    """Kafka's text as the Kafka binding of AsyncAPI wants it."""
    if name == "cleanup.policy":
        return value.split(",")
    return int(value) if value.lstrip("-").isdecimal() else value


def _message(event: type[Fact]) -> dict[str, Any]:
    is_cloudevent = issubclass(event, CloudEvent)
    key = "key_id" if event is KeyUsed else "partitionkey" if is_cloudevent else "lineage_id"
    message = {
        "name": event_type(event),
        "title": event.__name__,
        "summary": (event.__doc__ or "").splitlines()[0],
        "contentType": CLOUDEVENT if is_cloudevent else JSON,
        "bindings": {"kafka": {"key": {"type": "string", "description": f"equal to `{key}`"}}},
        "payload": {"$ref": schema_name(event)},
    }
    if event is KeyUsed:
        message["description"] = CONTENT_MODES
    if "correlationid" in event.model_fields:
        message["correlationId"] = {"location": "$message.payload#/correlationid"}
    return message


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


DEAD_LETTER: dict[str, Any] = {
    "name": "DeadLetter",
    "summary": "A record as it was, with its coordinates and what is wrong with it. It may come more than "
    "once: its identity is (topic, partition, offset).",
    "contentType": "application/octet-stream",
    "headers": {
        "type": "object",
        "description": "UTF-8 text",
        "properties": {
            "topic": _text("topic of the original record"),
            "partition": _text("its partition", pattern="^[0-9]+$"),
            "offset": _text("its offset", pattern="^[0-9]+$"),
            "reason": _text("the kind of what is wrong, one of few: unreadable, unknown key, ..."),
            "error": _text("what is wrong; never quotes the value"),
            "time": _text("the time that its topic keeps for it, in UTC", format="date-time"),
            **{
                f"cut.{part}": _text(f"the size and digest of the original {part}, too large to carry")
                for part in ("key", "headers", "value")
            },
        },
        "patternProperties": {r"^original\\.": {"description": "a header of the original, as it was"}},
        "required": ["topic", "partition", "offset", "reason", "error", "time"],
    },
    "payload": {"description": "the original value, byte for byte; absent where it was absent or is cut"},
    "bindings": {"kafka": {"key": {"description": "the original key, byte for byte, or absent"}}},
}

DEAD_LETTER_NOTE = {
    "summary": "What somebody has done about a dead letter, and why. The last one of a letter counts.",
    "contentType": "application/octet-stream",
    "headers": {
        "type": "object",
        "description": "UTF-8 text; `note` tells a note from a letter",
        "properties": {
            "note": {"type": "string", "enum": ["replayed", "skipped"]},
            "topic": _text("topic of the original record"),
            "partition": _text("its partition", pattern="^[0-9]+$"),
            "offset": _text("its offset", pattern="^[0-9]+$"),
            "actor": _text("who has done it"),
            "reason": _text("why"),
            "read_to": _text("JSON: where each partition ended before; a letter from there on is newer"),
        },
        "required": ["note", "topic", "partition", "offset", "actor", "reason", "read_to"],
    },
    "payload": {"description": "none"},
    "bindings": {"kafka": {"key": {"description": "topic/partition@offset of the original"}}},
}


def _json(content: Mapping[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    write()
