"""Rows of billing beside what follows from the log, one share of them after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from events.keeper.snapshot import Copied, Snapshot
from events.keeper.spool import SHARES, Spool
from events.keeper.verification import POSITIONS, differences
from events.queries import load_queries
from events.totals import Statement, hour_text
from services.billing.accounts import Account
from services.billing.arithmetic import mistakes
from services.billing.ledger import LedgerRow
from services.billing.months import month_text
from services.billing.statements import Row, line_rows, named_rows, revision_rows
from services.billing.verification_log import FoldedLog, Hour, LineageId

_QUERIES = {**load_queries("services.billing"), **load_queries("services.billing", "verification.sql")}

#: What is copied, and by which columns it is dealt out: hours by key and hour, all else by lineage.
TABLES: Mapping[str, Copied] = {
    "positions": POSITIONS,
    "all_hours": Copied(_QUERIES["all_hours"], slice(2)),
    "all_accounts": Copied(_QUERIES["all_accounts"], slice(1)),
    "all_statements": Copied(_QUERIES["all_statements"], slice(1)),
    "all_lines": Copied(_QUERIES["all_lines"], slice(1)),
    "all_parts": Copied(_QUERIES["all_parts"], slice(1)),
    "watermark": Copied(_QUERIES["watermark"], slice(0)),
    "count_outgoing": Copied(_QUERIES["count_outgoing"], slice(0)),
}


def compare(log: FoldedLog, tables: Snapshot) -> Iterator[str]:
    """A sentence for each row that differs from the log, and for each bill that does not add up."""
    ((watermark,),) = tables["watermark"].rows
    if watermark is not None and (log.announced_until is None or log.announced_until < watermark):
        yield "the watermark is later than what usage.progress has announced"
    with Spool[Hour, int]() as named, Spool[LineageId, Row]() as ledger:
        for share in range(SHARES):
            yield from _compare_lineages(log, tables, share, named)
        for share in range(SHARES):
            yield from _compare_hours(log, tables, share, named, ledger)
        for share in range(SHARES):
            yield from _mistakes(log, tables, share, ledger)


def _compare_lineages(log: FoldedLog, tables: Snapshot, share: int, named: Spool[Hour, int]) -> Iterator[str]:
    """Accounts, statements, lines, parts. Leaves in `named` which hours were billed, in which revisions."""
    statements, parts = log.first_statements(share), log.first_parts(share)
    billed = [row for _, statement in statements for row in named_rows(statement)]
    of_statements = {(*row[:2], statement.digest) for row, statement in statements}
    for place, part in parts.items():
        if place[:3] in of_statements:
            billed += revision_rows(part.lineage_id, part.revisions)
    for key_id, hour, _, revision in billed:
        named.add((key_id, hour), revision)
    accounts: Iterable[Row] = log.first_accounts(share).values()
    for name, length, wanted, sentence in (
        ("all_accounts", 1, accounts, _account),
        ("all_statements", 2, (row for row, _ in statements), _statement),
        ("all_lines", 3, (row for _, one in statements for row in line_rows(one)), _line),
        ("all_parts", 4, ((*place, part.revisions) for place, part in parts.items()), _part),
    ):
        found = tables[name]
        found_rows = {row[:length]: row for _, row in found.spool.share(share)}
        yield from differences({row[:length]: row for row in wanted}, found_rows, found.columns, sentence)


def _compare_hours(
    log: FoldedLog, tables: Snapshot, share: int, named: Spool[Hour, int], ledger: Spool[LineageId, Row]
) -> Iterator[str]:
    """The ledger, and which revisions were billed. Deals the rows of Postgres out by lineage, to `ledger`."""
    found = tables["all_hours"]
    found_rows, found_named = dict[Row, Row](), dict[Row, Row]()
    for place, row in found.spool.share(share):
        ledger.add((row[2],), row)
        *values, named_revision = row
        if LedgerRow(*values).revision:
            found_rows[place] = tuple(values)
        if named_revision:
            found_named[place] = (named_revision,)
    wanted, later = _ledger(log, share)
    for place in later:
        # The topic is compacted, and may hold nothing of what Postgres has passed of these.
        if _revision(wanted, place) <= _revision(found_rows, place):
            wanted.pop(place, None)
            found_rows.pop(place, None)
    yield from differences(wanted, found_rows, found.columns[:-1], _hour)
    billed: dict[Row, Row] = {}
    for place, revision in named.share(share):
        billed[place] = max(billed.get(place, (0,)), (revision,))
    yield from differences(billed, found_named, ["named_revision"], _named)


def _ledger(log: FoldedLog, share: int) -> tuple[dict[Row, Row], set[Row]]:
    """The highest revision of each key and hour that Postgres has passed; and of which there is more."""
    highest, later = dict[Row, Row](), set[Row]()
    for place, (row, is_later) in log.totals.share(share):
        if is_later:
            later.add(place)
        elif _revision(highest, place) < row.revision:
            highest[place] = row
    return highest, later


def _mistakes(log: FoldedLog, tables: Snapshot, share: int, ledger: Spool[LineageId, Row]) -> Iterator[str]:
    statements: list[Statement] = [statement for _, statement in log.first_statements(share)]
    accounts = {row[0]: Account(*row) for _, row in tables["all_accounts"].spool.share(share)}
    hours = [(LedgerRow(*values), named) for _, (*values, named) in ledger.share(share)]
    named = {(row.key_id, row.hour): revision for row, revision in hours if revision}
    yield from mistakes(statements, accounts, [row for row, _ in hours if row.revision], named)


def _revision(rows: Mapping[Row, Row], place: Row) -> int:
    return LedgerRow(*rows[place]).revision if place in rows else 0


def _account(place: Row) -> str:
    return f"account {place[0]}"


def _statement(place: Row) -> str:
    return f"statement {place[0]}/{month_text(place[1])}"


def _line(place: Row) -> str:
    return f"line {place[2]} of statement {place[0]}/{month_text(place[1])}"


def _part(place: Row) -> str:
    return f"part {place[3]} of statement {place[0]}/{month_text(place[1])}"


def _hour(place: Row) -> str:
    return f"the ledger of key {place[0]} at {hour_text(place[1])}"


def _named(place: Row) -> str:
    return f"the revision that was billed of key {place[0]} at {hour_text(place[1])}"
