"""Which of several records of one use counts: the log alone says so, in whatever order partitions are read.

Two records of one identity are near each other when they were appended at most `NEAR_PERIODS` apart. A record
counts if no near one precedes it. Those in the partition of the key precede those in other partitions, lower
partitions precede higher ones, and within a partition the log's order holds. So a record that was counted is
withdrawn when a near one that precedes it is read later; that happens to records outside of their key's
partition only, whose facts are remembered for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from events.dead_letters import DeadLetter
from events.log import PlainRecord, Record
from events.usage_identity import NEAR_PERIODS
from services.projector.rows import Row
from services.projector.usage_rows import (
    COUNTED,
    PASSED_OVER,
    WITHDRAWN,
    Change,
    Use,
    change_row,
    pack,
    unpack,
)


class Remembered(NamedTuple):
    """The first record of an identity in a partition of the log and a period.

    `content`: what the record states that precedes it, or it itself. `facts`: of a use that counts now and
    may have to be withdrawn.
    """

    identity: str
    period: int
    partition: int
    record_offset: int
    content: int
    facts: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from a batch: changes of sums, what to remember, whose facts to forget, dead letters."""

    changes: list[Row] = field(default_factory=list)
    remembered: list[Remembered] = field(default_factory=list)
    withdrawn: list[Remembered] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def judge_duplicates(uses: Iterable[Use], known: Mapping[str, Sequence[Remembered]]) -> Judged:
    """Judge uses of one partition, in order. `known`: all that is remembered of their identities."""
    judged = Judged()
    of_identity = {identity: list(remembered) for identity, remembered in known.items()}
    for use in uses:
        others = of_identity.get(use.identity)
        if others is None:
            of_identity[use.identity] = [_remember(use, COUNTED, use.content, judged)]
        elif near := [other for other in others if abs(other.period - use.period) <= NEAR_PERIODS]:
            _judge(use, near, others, judged)
        else:
            others.append(_remember(use, COUNTED, use.content, judged))
    return judged


def _judge(use: Use, near: Sequence[Remembered], others: list[Remembered], judged: Judged) -> None:
    partition, home = use.record.partition, use.facts.home
    rank = _rank(partition, home)
    own = [other for other in near if other.partition == partition]
    first = min(
        (other for other in near if _rank(other.partition, home) <= rank),
        key=lambda other: (_rank(other.partition, home), other.record_offset),
        default=None,
    )
    content = use.content if first is None else first.content
    if first is not None and content != use.content:
        judged.letters.append(_conflicting(use.record, first))
    if any(other.period == use.period for other in own):
        return
    for other in near:
        if other.facts is not None and _rank(other.partition, home) > rank:
            _withdraw(use, other, others, judged)
            if other.content != content:
                judged.letters.append(_conflicting_before(use, other))
    if own:
        others.append(_remember(use, None, content, judged))
    else:
        others.append(_remember(use, COUNTED if first is None else PASSED_OVER, content, judged))


def _remember(use: Use, change: Change | None, content: int, judged: Judged) -> Remembered:
    record = use.record
    may_be_withdrawn = change is COUNTED and record.partition != use.facts.home
    facts = pack(use.facts, record.timestamp) if may_be_withdrawn else None
    remembered = Remembered(use.identity, use.period, record.partition, record.offset, content, facts)
    judged.remembered.append(remembered)
    if change is not None:
        judged.changes.append(change_row(use.facts, change))
    return remembered


def _withdraw(use: Use, other: Remembered, others: list[Remembered], judged: Judged) -> None:
    assert other.facts is not None
    facts, _ = unpack(other.facts)
    judged.changes.append(change_row(facts, WITHDRAWN))
    judged.withdrawn.append(other)
    others[others.index(other)] = other._replace(facts=None)


def _rank(partition: int, home: int) -> tuple[bool, int]:
    """What precedes what: the key's own partition, then the others in order."""
    return partition != home, partition


def _conflicting(record: Record, first: Remembered) -> DeadLetter:
    place = f"{record.topic}/{first.partition}@{first.record_offset}"
    return DeadLetter(
        record,
        "conflicting duplicate",
        f"conflicting duplicate: {place} has the same key_id and id, and states something else",
    )


def _conflicting_before(use: Use, other: Remembered) -> DeadLetter:
    """Of a record that was counted until now. Its value is not at hand: the topic has it."""
    record = use.record
    assert other.facts is not None
    _, appended_ms = unpack(other.facts)
    key = use.facts.key_id.encode()
    loser = PlainRecord(record.topic, other.partition, other.record_offset, appended_ms, key, value=None)
    place = f"{record.topic}/{record.partition}@{record.offset}"
    return DeadLetter(
        loser,
        "conflicting duplicate",
        f"conflicting duplicate: {place}, which precedes it, has the same key_id and id, and states "
        "something else",
    )
