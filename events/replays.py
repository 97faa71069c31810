"""A record that says it is another one again: how a dead letter is judged anew in its old place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from events.log import Position, Record

#: Names the record that is appended again. Anybody may write it: readers check what it claims.
REPLAY_HEADER = "hokusai-replay-of"

_PLACE = re.compile(r"([a-zA-Z0-9._-]{1,249})/(\d{1,10})@(\d{1,18})")


def parse_place(text: str) -> Position | None:
    """The position that a text names as `Position` writes it; None where it names none."""
    found = _PLACE.fullmatch(text)
    return Position(found[1], int(found[2]), int(found[3])) if found else None


def replay_headers(record: Record) -> tuple[tuple[str, bytes], ...]:
    """The headers of the record when it is appended again."""
    place = str(Position(record.topic, record.partition, record.offset))
    return (*own_headers(record), (REPLAY_HEADER, place.encode()))


def replayed_place(record: Record) -> Position | None:
    """The earlier record of its partition that it claims to be again; None where it claims nothing."""
    claims = [value for name, value in record.headers if name == REPLAY_HEADER]
    place = parse_place((claims[0] or b"").decode(errors="replace")) if len(claims) == 1 else None
    if place is None or (place.topic, place.partition) != (record.topic, record.partition):
        return None
    return place if place.offset < record.offset else None


def content_digest(record: Record) -> bytes:
    """The same for a record and its replay, and for nothing else: of key, value and headers."""
    digest = hashlib.sha256()
    for part in _parts(record):
        digest.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return digest.digest()


def _parts(record: Record) -> Iterable[bytes | None]:
    yield record.key
    yield record.value
    for name, value in own_headers(record):
        yield name.encode()
        yield value


def own_headers(record: Record) -> tuple[tuple[str, bytes], ...]:
    """The headers that the original has."""
    return tuple((name, value) for name, value in record.headers if name != REPLAY_HEADER)
