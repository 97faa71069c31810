"""A statement -> the records that tell it: several where its revisions are more than a record takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import orjson

from events.codec import encode
from events.totals import Revisions, RevisionsPart, StatementClosed, StatementRevisions

#: A topic takes records of a megabyte. About 40,000 keys and hours fit: fifty keys, each used in every hour.
LARGEST_RECORD_BYTES = 900_000

_QUOTES_COLON_COMMA = len('"":,')
_BRACES = len("{}")


def records_of(statement: StatementClosed, largest_bytes: int = LARGEST_RECORD_BYTES) -> Mapping[int, bytes]:
    """The value of each part, by its number. The first part is the statement itself.

    The same statement gives the same bytes. Raises `ValueError` where even its lines are too large.
    """
    value = encode(statement)
    if len(value) <= largest_bytes:
        return {1: value}
    digest = digest_of(statement.data.revisions)
    overhead = len(encode(_head(statement, 10_000, digest, {})))
    if overhead >= largest_bytes:
        raise ValueError(f"its lines alone have {overhead} bytes, more than a record takes")
    # The envelope of a further part is smaller than that of the statement, which has the lines.
    portions = list(_portions(statement.data.revisions, largest_bytes - overhead))
    if len(portions) > 10_000:
        raise ValueError(f"it would have {len(portions)} parts")
    first, *others = portions
    parts = {1: encode(_head(statement, len(portions), digest, first))}
    for number, revisions in enumerate(others, start=2):
        parts[number] = encode(_further(statement, number, len(portions), digest, revisions))
    return parts


def digest_of(revisions: Revisions) -> str:
    """SHA-256 of them as JSON, its keys sorted."""
    return hashlib.sha256(orjson.dumps(revisions, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _head(statement: StatementClosed, parts: int, digest: str, revisions: Revisions) -> StatementClosed:
    changed = {"parts": parts, "digest": digest, "revisions": revisions}
    return statement.model_copy(update={"data": statement.data.model_copy(update=changed)})


def _further(
    statement: StatementClosed, part: int, parts: int, digest: str, revisions: Revisions
) -> StatementRevisions:
    name = f"{statement.partitionkey}/{part}"
    return StatementRevisions(
        id=name,
        source=statement.source,
        time=statement.time,
        subject=statement.subject,
        partitionkey=name,
        data=RevisionsPart(
            lineage_id=statement.data.lineage_id,
            month=statement.data.month,
            digest=digest,
            part=part,
            parts=parts,
            revisions=revisions,
        ),
    )


def _portions(revisions: Revisions, most_bytes: int) -> Iterator[Revisions]:
    """As much as fits at a time, in order; at least one hour."""
    portion: Revisions = {}
    size = 0
    for key_id, hours in revisions.items():
        for hour, revision in hours.items():
            added = len(hour) + len(str(revision)) + _QUOTES_COLON_COMMA
            key = 0 if key_id in portion else len(key_id) + _QUOTES_COLON_COMMA + _BRACES
            if portion and size + added + key > most_bytes:
                yield portion
                portion, size = {}, 0
                key = len(key_id) + _QUOTES_COLON_COMMA + _BRACES
            portion.setdefault(key_id, {})[hour] = revision
            size += added + key
    yield portion
