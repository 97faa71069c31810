"""What follows for billing from the records of the log, dealt out to disk for an auditor."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Self

from events.keeper.spool import Spool
from events.log import Record
from events.totals import RevisionsPart, Statement, StatementRevisions
from services.billing.accounts import Account, account_of
from services.billing.ledger import LedgerRow, ledger_row
from services.billing.reading import parse_month, read_created, read_progress, read_statement, read_totals
from services.billing.statements import Row, statement_row

Hour = tuple[str, datetime]
LineageId = tuple[str]


class Total(NamedTuple):
    """What a record says about a key's hour. `is_later`: Postgres has not passed the record."""

    row: LedgerRow
    is_later: bool


class FoldedLog:
    """Close it with `with`. Each fold raises `UnreadableRecord` for what changes nothing.

    Hours are dealt out by key and hour; accounts and statements by lineage, so that all of a lineage is in
    one share.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self.totals = self._opened.enter_context(Spool[Hour, Total]())
        self.accounts = self._opened.enter_context(Spool[LineageId, Account]())
        self.statements = self._opened.enter_context(Spool[LineageId, tuple[Row, Statement]]())
        self.parts = self._opened.enter_context(Spool[LineageId, RevisionsPart]())
        #: Up to when usage.progress has announced that all use is published.
        self.announced_until: datetime | None = None

    def fold_totals(self, record: Record, *, is_later: bool) -> None:
        row = ledger_row(read_totals(record))
        self.totals.add((row.key_id, row.hour), Total(row, is_later))

    def fold_account(self, record: Record, *, is_later: bool) -> None:
        created = None if is_later else read_created(record)
        if created is not None:
            account = account_of(created)
            self.accounts.add((account.lineage_id,), account)

    def fold_statement(self, record: Record, *, is_later: bool) -> None:
        event = read_statement(record)
        if is_later:
            return
        if isinstance(event, StatementRevisions):
            self.parts.add((event.data.lineage_id,), event.data)
        else:
            statement = event.data
            self.statements.add((statement.lineage_id,), (statement_row(record, statement), statement))

    def fold_progress(self, record: Record, *, is_later: bool) -> None:
        # Later or not: it stays true, and compaction leaves no more than the newest.
        announced = [self.announced_until, read_progress(record)]
        self.announced_until = max((until for until in announced if until is not None), default=None)

    def first_accounts(self, share: int) -> dict[str, Account]:
        """The terms that each lineage began with."""
        accounts: dict[str, Account] = {}
        for _, account in self.accounts.share(share):
            accounts.setdefault(account.lineage_id, account)
        return accounts

    def first_statements(self, share: int) -> list[tuple[Row, Statement]]:
        """The first statement of each lineage's month, with its row."""
        first: dict[Row, tuple[Row, Statement]] = {}
        for _, (row, statement) in self.statements.share(share):
            first.setdefault(row[:2], (row, statement))
        return list(first.values())

    def first_parts(self, share: int) -> dict[Row, RevisionsPart]:
        """The first record of each further part of a statement, by lineage, month, digest and number."""
        first: dict[Row, RevisionsPart] = {}
        for _, part in self.parts.share(share):
            first.setdefault((part.lineage_id, parse_month(part.month), part.digest, part.part), part)
        return first

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
