"""Are ledger, accounts and statements what the log says, and do the statements add up?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from psycopg import AsyncConnection, IsolationLevel

from events.errors import UnreadableRecord
from events.kafka_log import KafkaLogReader
from events.keeper.database import connect_auditor
from events.log import LogReader, Record
from events.log_reading import read_through
from events.queries import load_queries
from events.settings import KafkaSettings
from events.topics import Topics
from events.totals import Revisions, Statement, StatementRevisions, hour_text
from services.billing.accounts import Account, account_of
from services.billing.arithmetic import mistakes
from services.billing.ledger import LedgerRow, ledger_row
from services.billing.months import month_text
from services.billing.reading import parse_month, read_created, read_progress, read_statement, read_totals
from services.billing.statements import (
    NamedRow,
    Place,
    Row,
    line_rows,
    named_rows,
    revision_rows,
    statement_row,
)

_QUERIES = load_queries("services.billing")


Progress = Callable[[int, int], None]
Fold = Callable[[Record, bool], None]
Hour = tuple[str, datetime]
#: Lineage, month, digest and number.
PartPlace = tuple[str, date, str, int]
KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


@dataclass(slots=True)
class _Picture:
    """The books, as Postgres has them or as they follow from the log."""

    hours: dict[Hour, LedgerRow] = field(default_factory=dict)
    named: dict[Hour, int] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    statements: dict[Place, Row] = field(default_factory=dict)
    lines: dict[tuple[str, date, int], Row] = field(default_factory=dict)
    parts: dict[PartPlace, Revisions] = field(default_factory=dict)
    watermark: datetime | None = None


async def verify(
    kafka: KafkaSettings,
    topics: Topics,
    database_url: str,
    on_progress: Progress = lambda done, total: None,
) -> list[str]:
    """One sentence for each row that differs from the fold of the log, and each bill that does not add up.

    Holds all of the ledger in memory. `on_progress` is told how many records of how many were passed.
    Raises `LogUnavailable`, `WrongLog`, and psycopg's errors (`UndefinedTable`: there is no ledger).
    """
    found, positions = await _in_postgres(database_url)
    log = _Log()
    differences: list[str] = []
    passed, total = 0, sum(positions.values())
    for topic, fold in (
        (topics.hourly_usage, log.fold_totals),
        (topics.lifecycle, log.fold_account),
        (topics.statements, log.fold_statement),
        (topics.usage_progress, log.fold_progress),
    ):
        ours = {at: positions.get((topic.name, at), 0) for at in range(topic.partitions)}
        async with KafkaLogReader(kafka, topic) as reader:
            ends = await reader.end_offsets()
            differences += [
                f"{topic.name}/{at}: Postgres is at offset {position}, the log ends at {ends[at]}"
                for at, position in ours.items()
                if position > ends[at]
            ]
            await _read(reader, ends, ours, fold)
        passed += sum(ours.values())
        on_progress(passed, total)
    log.name_parts()
    differences += _differences(log.picture, found, log.later)
    differences += mistakes(list(log.statements.values()), found.accounts, found.hours.values(), found.named)
    return differences


class _Log:
    """What follows from the records that Postgres has passed."""

    def __init__(self) -> None:
        self.picture = _Picture()
        self.statements: dict[Place, Statement] = {}
        #: Keys and hours of which the log has more than Postgres has passed: the topic is compacted, and may
        #: hold nothing else of them any more.
        self.later: set[Hour] = set()

    def fold_totals(self, record: Record, is_passed: bool) -> None:
        row = ledger_row(read_totals(record))
        place = (row.key_id, row.hour)
        if not is_passed:
            self.later.add(place)
        elif place not in self.picture.hours or self.picture.hours[place].revision < row.revision:
            self.picture.hours[place] = row

    def fold_account(self, record: Record, is_passed: bool) -> None:
        created = read_created(record) if is_passed else None
        if created is not None:
            self.picture.accounts.setdefault(created.data.lineage_id, account_of(created))

    def fold_progress(self, record: Record, is_passed: bool) -> None:
        # Passed or not: it stays true, and compaction leaves no more than the newest.
        announced = [self.picture.watermark, read_progress(record)]
        self.picture.watermark = max((until for until in announced if until is not None), default=None)

    def fold_statement(self, record: Record, is_passed: bool) -> None:
        event = read_statement(record)
        if isinstance(event, StatementRevisions):
            part = event.data
            if is_passed:
                at = (part.lineage_id, parse_month(part.month), part.digest, part.part)
                self.picture.parts.setdefault(at, part.revisions)
            return
        statement = event.data
        row = statement_row(record, statement)
        place = (row[0], row[1])
        if not is_passed or place in self.statements:
            return
        self.statements[place] = statement
        self.picture.statements[place] = row
        for line in line_rows(statement):
            self.picture.lines[line[0], line[1], line[2]] = line
        self._name(named_rows(statement))

    def name_parts(self) -> None:
        """What further parts name, once all are read: those of statements, by their digest."""
        for (lineage_id, month, digest, _), revisions in self.picture.parts.items():
            statement = self.statements.get((lineage_id, month))
            if statement is not None and statement.digest == digest:
                self._name(revision_rows(lineage_id, revisions))

    def _name(self, rows: Iterable[NamedRow]) -> None:
        for key_id, hour, _, revision in rows:
            self.picture.named[key_id, hour] = max(revision, self.picture.named.get((key_id, hour), 0))


def _differences(log: _Picture, found: _Picture, later: Set[Hour]) -> Iterator[str]:
    skipped = {at for at in later if _revision(log.hours, at) <= _revision(found.hours, at)}
    for at, what in _differing(log.hours, found.hours):
        if at not in skipped:
            yield f"the ledger of key {at[0]} at {hour_text(at[1])} {what}"
    for lineage_id, what in _differing(log.accounts, found.accounts):
        yield f"account {lineage_id} {what}"
    for place, what in _differing(log.statements, found.statements):
        yield f"statement {place[0]}/{month_text(place[1])} {what}"
    for line, what in _differing(log.lines, found.lines):
        yield f"line {line[2]} of statement {line[0]}/{month_text(line[1])} {what}"
    for part, what in _differing(log.parts, found.parts):
        yield f"part {part[3]} of statement {part[0]}/{month_text(part[1])} {what}"
    if found.watermark is not None and (log.watermark is None or log.watermark < found.watermark):
        yield "the watermark is later than what usage.progress has announced"
    for at, what in _differing(log.named, found.named):
        yield f"the revision that was billed of key {at[0]} at {hour_text(at[1])} {what}"


def _differing(wanted: Mapping[KeyT, ValueT], found: Mapping[KeyT, ValueT]) -> Iterator[tuple[KeyT, str]]:
    """Places where something is missing, too much or different, and which. Never what is in it."""
    for place in wanted.keys() - found.keys():
        yield place, "is missing in Postgres"
    for place in found.keys() - wanted.keys():
        yield place, "is in Postgres, but does not follow from the log"
    for place in wanted.keys() & found.keys():
        if wanted[place] != found[place]:
            yield place, "differs from the log"


def _revision(hours: Mapping[Hour, LedgerRow], at: Hour) -> int:
    return hours[at].revision if at in hours else 0


async def _read(reader: LogReader, ends: Mapping[int, int], passed: Mapping[int, int], fold: Fold) -> None:
    """Fold every record that the topic holds now; those that cannot be read change nothing."""
    async for records in read_through(reader, ends):
        for record in records:
            with suppress(UnreadableRecord):
                fold(record, record.offset < passed[record.partition])


async def _in_postgres(database_url: str) -> tuple[_Picture, Mapping[tuple[str, int], int]]:
    """All of one moment, and up to which offsets it follows from the log, by topic and partition."""
    async with await connect_auditor(database_url, "billing") as connection:
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        await connection.set_read_only(True)
        async with connection.transaction():
            picture = _Picture()
            for *row, named_revision in await _rows(connection, "all_hours"):
                found = LedgerRow(*row)
                if found.revision:
                    picture.hours[found.key_id, found.hour] = found
                if named_revision:
                    picture.named[found.key_id, found.hour] = named_revision
            picture.accounts = {row[0]: Account(*row) for row in await _rows(connection, "all_accounts")}
            picture.statements = {row[:2]: row for row in await _rows(connection, "all_statements")}
            picture.lines = {row[:3]: row for row in await _rows(connection, "all_lines")}
            picture.parts = {row[:4]: row[4] for row in await _rows(connection, "all_parts")}
            ((picture.watermark,),) = await _rows(connection, "watermark")
            positions = {row[:2]: row[2] for row in await _rows(connection, "positions")}
    return picture, positions


async def _rows(connection: AsyncConnection[Any], query: str) -> list[Any]:
    return await (await connection.execute(_QUERIES[query])).fetchall()
