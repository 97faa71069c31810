"""What people see of letters: no keys, no hashes, no control codes of whoever wrote the record."""

from __future__ import annotations

import json

import pytest

from events.dead_letter_notes import StoredLetter
from events.log import Position
from services.dead_letters.book import Entry
from services.dead_letters.showing import LONGEST_VALUE, as_json, as_line, as_text, printable
from tests.builders import StoredRecord

SECRET = "hk_test_" + "q" * 32
HASH = "$2b$12$" + "a" * 53
LETTER = StoredLetter(
    Position("keys.usage", 3, 7), "unreadable", f"no use \x1b[2J of {SECRET}", "2026-03-10T12:00:00.000Z",
    Position("keys.usage.dlq", 5, 1),
)  # fmt: skip
OPEN = Entry(LETTER, "open", None, None)
SKIPPED = Entry(LETTER, "skipped", "oncall\nother", "a test")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a {SECRET} b", "a hk_test_qqq*** b"),
        (HASH, "$2***"),
        ("\x1b[31m\r\n\u202e", "\\x1b[31m\\r\\n\\u202e"),
        ("größer", "größer"),
    ],
)
def test_what_is_printed_holds_no_keys_hashes_and_control_codes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_letter_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = as_line(SKIPPED)
    assert line.startswith(
        "keys.usage/3@7  unreadable  2026-03-10T12:00:00.000Z  skipped by oncall\\nother  "
    )
    assert line.isprintable()
    assert SECRET not in line
    assert json.loads(as_json(OPEN))["coordinates"] == "keys.usage/3@7"
    assert SECRET not in as_json(OPEN)


def test_where_the_original_is_gone_the_letter_shows_what_it_kept() -> None:
    stored = StoredRecord(
        key=b"k",
        headers=(
            ("topic", b"keys.usage"),
            ("cut.value", b"2000000 bytes, sha256 00"),
            ("original.trace", b"1"),
        ),
    )
    lines = list(as_text(OPEN, stored, None, "keys.usage/3@7 is not in the log any more"))
    assert "  original  keys.usage/3@7 is not in the log any more" in lines
    assert "  cut       value: 2000000 bytes, sha256 00" in lines
    assert "  header    trace: 1" in lines
    assert "  value     none" in lines


def test_a_value_is_decoded_where_it_can_be_and_cut_where_it_is_long() -> None:
    shown = list(as_text(OPEN, None, StoredRecord(value=b'{"a": [1]}'), None))
    assert shown[-5:] == ["    {", '      "a": [', "        1", "      ]", "    }"]
    shown = list(as_text(OPEN, None, StoredRecord(value=b"\xff" + b"x" * LONGEST_VALUE), None))
    assert shown[-2].startswith("    \\xffxxx")
    assert shown[-1] == "    ... and 4 more characters"
