"""Named queries are found by name, and a file that is not well kept is refused."""

from __future__ import annotations

import pytest

from events.queries import load_queries, parse_queries

FILE = """
-- About the file.

-- name: first
-- What it is for,
-- in two lines.
SELECT 1
-- a remark inside
FROM t;

-- name: second
-- Another.
SELECT 2
"""


def test_a_query_is_its_statement_without_name_and_description() -> None:
    assert parse_queries(FILE) == {"first": "SELECT 1\n-- a remark inside\nFROM t", "second": "SELECT 2"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-- name: a\nSELECT 1", "'a' needs a description"),
        ("-- name: a\n--\nSELECT 1", "'a' needs a description"),
        ("-- name: a\n-- Does nothing.\n", "'a' needs a description and a statement"),
        ("-- name: a\n-- A.\nSELECT 1;\n-- name: a\n-- B.\nSELECT 2;", "'a' is there twice"),
    ],
)
def test_a_query_that_is_not_described_or_not_unique_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_queries(text)


def test_queries_come_with_their_package() -> None:
    queries = {"claim", "wait_briefly", "end_silent_owner", "advance"}
    assert load_queries("events", "projection.sql").keys() == queries
    assert "load_lineages" in load_queries("services.projector")
