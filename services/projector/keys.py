"""Lifecycle events -> the rows of `projector.lineage`, `projector.key` and `projector.key_event`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection

from events.dead_letters import DeadLetter
from events.lifecycle import Folded, fold
from events.lineage import Lineage
from events.log import Record
from events.queries import load_queries
from events.topics import Topics
from services.projector.array_dumper import TextArrayDumper
from services.projector.array_text import array_text
from services.projector.rows import Row, event_row, key_rows, lineage_id_of, lineage_row, lineages_from_rows

_QUERIES = load_queries("services.projector")


class KeysProjection:
    """Keeps every lineage as the fold leaves it, and what became of every record."""

    name = "keys"

    def __init__(self, topics: Topics) -> None:
        self.topic = topics.lifecycle
        self.dead_letter_topic = topics.lifecycle_dead_letters.name

    async def apply(
        self, connection: AsyncConnection[Any], records: Sequence[Record]
    ) -> Sequence[DeadLetter]:
        """See `Projection.apply`."""
        if not records:
            return ()
        known = await _load(connection, records)
        folded, changed = _fold(records, known)
        await _clear(connection, known.keys() & changed.keys())
        await _copy(connection, "copy_lineages", (lineage_row(changed[id_]) for id_ in sorted(changed)))
        await _copy(
            connection, "copy_keys", (row for id_ in sorted(changed) for row in key_rows(changed[id_]))
        )
        await _copy(connection, "copy_events", map(event_row, records, folded))
        return [
            DeadLetter(record, _reason(outcome), outcome.description)
            for record, outcome in zip(records, folded, strict=True)
            if outcome.is_dead_letter
        ]


def _fold(
    records: Sequence[Record], known: Mapping[str, Lineage]
) -> tuple[Sequence[Folded], Mapping[str, Lineage]]:
    """What becomes of each record, and the lineages that are different afterwards."""
    lineages = dict(known)
    changed = {}
    outcomes = []
    for record in records:
        folded = fold(record, lineages.get)
        if folded.lineage is not None:
            lineages[folded.lineage.lineage_id] = changed[folded.lineage.lineage_id] = folded.lineage
        outcomes.append(folded)
    return outcomes, changed


def _reason(folded: Folded) -> str:
    """`unreadable`, `gap` or `contradiction`."""
    return "unreadable" if folded.event is None else folded.description.partition(":")[0]


async def _load(connection: AsyncConnection[Any], records: Sequence[Record]) -> Mapping[str, Lineage]:
    ids = {id_ for record in records if (id_ := lineage_id_of(record))}
    named = {"lineage_ids": array_text(sorted(ids))}
    lineages = await (await connection.execute(_QUERIES["load_lineages"], named)).fetchall()
    keys = await (await connection.execute(_QUERIES["load_keys"], named)).fetchall() if lineages else []
    return lineages_from_rows(lineages, keys)


async def _clear(connection: AsyncConnection[Any], lineage_ids: Iterable[str]) -> None:
    if lineage_ids:
        await connection.execute(_QUERIES["clear_lineages"], {"lineage_ids": array_text(sorted(lineage_ids))})


async def _copy(connection: AsyncConnection[Any], query: str, rows: Iterable[Row]) -> None:
    cursor = connection.cursor()
    cursor.adapters.register_dumper(list, TextArrayDumper)
    async with cursor.copy(_QUERIES[query]) as copy:
        for row in rows:
            await copy.write_row(row)
