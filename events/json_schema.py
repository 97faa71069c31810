"""An event as JSON Schema 2020-12, from its model."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from events.envelope import Fact


def json_schema(event: type[Fact]) -> dict[str, Any]:
    """What a writer writes: JSON Schema 2020-12. Readers ignore fields that they do not know."""
    schema = event.model_json_schema(schema_generator=_Plain)
    stated = {*schema["required"], *event.stated, "type"}
    schema["required"] = [name for name in schema["properties"] if name in stated]
    return {
        "$schema": _Plain.schema_dialect,
        "$id": f"urn:{event_type(event).replace('.', ':')}",
        "title": event_type(event),
        **{name: part for name, part in schema.items() if name != "title"},
    }


def schema_name(event: type[Fact]) -> str:
    """The file that describes an event: `KeyCreated.v1.json`."""
    return f"{event_type(event).removeprefix('hokusai.auth.')}.json"


def event_type(event: type[Fact]) -> str:
    return str(event.model_fields["type"].default)


class _Plain(GenerateJsonSchema):
    """Without titles that only repeat the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
