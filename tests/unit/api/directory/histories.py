"""Logs as they are, and as they never should be: what a store is to make the same of as the whole fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from events.keys import KeyEvent
from events.lifecycle import fold
from events.lineage import Lineage
from events.log import Record
from tests.builders import StoredRecord, a_key_created, a_key_revoked, a_key_rotated, lifecycle_record
from tests.unit.events.test_lineage_laws import TIMES, follow_ups, key_id

LINEAGE_IDS = [key_id(number) for number in (1, 1_000_001, 2_000_001)]


def folded(records: Sequence[Record]) -> dict[str, Lineage]:
    """What the log says of every lineage: the fold over all of its keys."""
    lineages: dict[str, Lineage] = {}
    for record in records:
        if (lineage := fold(record, lineages.get).lineage) is not None:
            lineages[lineage.lineage_id] = lineage
    return lineages


@st.composite
def logs(draw: st.DrawFn, *, is_orderly: bool = False) -> list[StoredRecord]:
    """Some lineages, their records mixed: what writers append, and unless `is_orderly` what nobody should."""
    records: list[StoredRecord] = []
    for _ in range(draw(st.integers(1, 14))):
        lineages = folded(records)
        lineage_id = draw(st.sampled_from(LINEAGE_IDS))
        lineage = lineages.get(lineage_id)
        if records and not is_orderly and draw(st.integers(0, 4)) == 0:
            records.append(draw(disturbances(lineages, records)))
        elif lineage is None:
            records.append(lifecycle_record(draw(creations(lineage_id))))
        elif lineage.keys:
            records.append(lifecycle_record(draw(fresh_follow_ups(lineage, lineages))))
    return records


@st.composite
def creations(draw: st.DrawFn, lineage_id: str) -> KeyEvent:
    return a_key_created(
        key_id=lineage_id,
        time=draw(TIMES),
        lifetime_days=draw(st.none() | st.integers(1, 365)),
        pepper_id=draw(st.sampled_from(["p1", "p2", "p3"])),
    )


@st.composite
def fresh_follow_ups(draw: st.DrawFn, lineage: Lineage, lineages: dict[str, Lineage]) -> KeyEvent:
    """A follow-up that takes no id of another lineage."""
    taken = {key.key_id for other in lineages.values() for key in other.keys} | set(LINEAGE_IDS)
    return draw(
        follow_ups(lineage).filter(
            lambda event: getattr(getattr(event.data, "new_key", None), "key_id", None) not in taken
        )
    )


@st.composite
def disturbances(
    draw: st.DrawFn, lineages: dict[str, Lineage], records: Sequence[StoredRecord]
) -> StoredRecord:
    """What no writer of ours appends, or appends again."""
    kinds = ["again", "unreadable", "gap"]
    living = [lineage for lineage in lineages.values() if lineage.keys]
    if living:
        kinds += ["created again", "forged rotation", "own id again", "stranger revoked"]
    if len(living) > 1:
        kinds += ["id of another"] * 2
    kind = draw(st.sampled_from(kinds))
    if kind == "again":
        return draw(st.sampled_from(records))
    if kind == "unreadable":
        return replace(
            draw(st.sampled_from(records)), value=draw(st.sampled_from([None, b"", b'{"type": "x"}']))
        )
    if kind == "gap":
        lineage_id = draw(st.sampled_from(LINEAGE_IDS))
        known = lineages.get(lineage_id)
        created = a_key_created(key_id=lineage_id)
        return lifecycle_record(a_key_revoked(created, sequence=(known.sequence if known else 0) + 2))
    lineage = draw(st.sampled_from(living))
    key = draw(st.sampled_from(lineage.keys))
    fresh = key_id(draw(st.integers(3_000_000, 4_000_000)))
    following: dict[str, Any] = {"sequence": lineage.sequence + 1, "time": draw(TIMES)}
    if kind == "created again":
        return lifecycle_record(a_key_created(key_id=lineage.lineage_id, **following))
    if kind == "forged rotation":
        return lifecycle_record(a_key_rotated(lineage, key_id=key.key_id, new_key_id=fresh, **following))
    if kind == "own id again":
        return lifecycle_record(a_key_rotated(lineage, new_key_id=key.key_id, **following))
    if kind == "stranger revoked":
        return lifecycle_record(a_key_revoked(lineage, key_id=fresh, **following))
    other = draw(st.sampled_from([one for one in living if one is not lineage]))
    taken = draw(st.sampled_from(other.keys)).key_id
    # Another secret than that of the key whose id it takes.
    following["fingerprint"] = draw(st.binary(min_size=32, max_size=32)).hex()
    return lifecycle_record(a_key_rotated(lineage, new_key_id=taken, **following))
