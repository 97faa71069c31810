"""The schema `projector`, as the keeper makes it."""

from __future__ import annotations

from importlib.resources import files

from events.keeper.schema import Schema

#: Raise it with every change of `schema.sql`, or of what the projections make of a record.
SCHEMA_VERSION = 8


def projector_schema() -> Schema:
    return Schema("projector", SCHEMA_VERSION, files(__package__).joinpath("schema.sql").read_text("utf-8"))
