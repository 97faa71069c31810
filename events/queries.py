"""Named queries of a package's `.sql` file: each has a name, a description and one statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


def load_queries(package: str, file_name: str = "queries.sql") -> Mapping[str, str]:
    """From name to statement, as psycopg takes it (`%(parameter)s`).

    Raises `ValueError` for a query without a description or a statement, or whose name is taken.
    """
    return parse_queries(files(package).joinpath(file_name).read_text("utf-8"))


def parse_queries(text: str) -> Mapping[str, str]:
    """The queries in the text; what stands before the first `-- name:` is a comment on the file."""
    _, *parts = _NAME.split(text)
    queries: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"query {name!r} is there twice")
        description, statement = _split(body.strip().splitlines())
        if not description or not statement:
            raise ValueError(f"query {name!r} needs a description and a statement")
        queries[name] = statement
    return MappingProxyType(queries)


def _split(lines: list[str]) -> tuple[str, str]:
    """The comment lines at the top, and the rest."""
    height = next((index for index, line in enumerate(lines) if not line.startswith("--")), len(lines))
    description = " ".join(line.removeprefix("--").strip() for line in lines[:height]).strip()
    return description, "\n".join(lines[height:]).strip().removesuffix(";")
