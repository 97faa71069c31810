"""How dead letters are written for people and programs: without keys, hashes and control codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from events.log import Record
from events.shown_keys import hide_keys
from services.dead_letters.book import Entry

_BCRYPT = re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}")
LONGEST_VALUE = 20_000


def as_line(entry: Entry) -> str:
    """One line: place, class of the error, time, state, error."""
    letter, place = entry.letter, entry.letter.record
    state = entry.state if entry.actor is None else f"{entry.state} by {entry.actor}"
    return "  ".join(
        printable(text)
        for text in (
            str(place),
            letter.reason,
            letter.time,
            state,
            letter.error,
        )
    )


def as_json(entry: Entry) -> str:
    letter, place = entry.letter, entry.letter.record
    members = {
        "coordinates": str(place),
        "topic": place.topic,
        "partition": place.partition,
        "offset": place.offset,
        "reason": letter.reason,
        "error": letter.error,
        "time": letter.time,
        "state": entry.state,
        "actor": entry.actor,
        "why": entry.why,
    }
    return json.dumps(
        {name: printable(member) if isinstance(member, str) else member for name, member in members.items()}
    )


def as_text(
    entry: Entry, stored: Record | None, original: Record | None, trouble: str | None
) -> Iterator[str]:
    """All of a letter, line by line; `trouble` says why its original is not shown."""
    letter, place = entry.letter, entry.letter.record
    at = letter.stands_at
    yield str(place)
    yield _field(
        "state", entry.state if entry.actor is None else f"{entry.state} by {entry.actor}: {entry.why}"
    )
    yield _field("reason", letter.reason)
    yield _field("error", letter.error)
    yield _field("time", letter.time)
    yield _field("letter", str(at))
    shown = original or stored
    if trouble is not None:
        yield _field("original", trouble)
    if shown is None:
        return
    for name, value in stored.headers if stored is not None else ():
        if name.startswith("cut."):
            yield _field("cut", f"{name.removeprefix('cut.')}: {_text(value)}")
    yield _field("key", _text(shown.key))
    for name, value in shown.headers:
        if shown is original or name.startswith("original."):
            yield _field("header", f"{name.removeprefix('original.')}: {_text(value)}")
    yield _field("value", f"{len(shown.value or b'')} bytes" if shown.value is not None else "none")
    yield from _value(shown.value)


def printable(text: str) -> str:
    """The text without keys, hashes and control codes: some of it was written by anybody."""
    hidden = _BCRYPT.sub("$2***", hide_keys(text))
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in hidden)


def _field(name: str, text: str) -> str:
    return f"  {name:<9} {printable(text)}"


def _text(value: bytes | None) -> str:
    return "none" if value is None else value.decode(errors="backslashreplace")


def _value(value: bytes | None) -> Iterator[str]:
    if value is None:
        return
    try:
        decoded: Any = json.loads(value)
        text = json.dumps(decoded, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = _text(value)
    for line in text[:LONGEST_VALUE].splitlines():
        yield f"    {printable(line)}"
    if len(text) > LONGEST_VALUE:
        yield f"    ... and {len(text) - LONGEST_VALUE} more characters"
