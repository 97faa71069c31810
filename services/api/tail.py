"""Reading a log on and on, through its outages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from events.errors import LogUnavailable
from events.log import LogReader, Record
from events.waiting import wait_for


async def read_on(reader: LogReader, max_records: int, what: str) -> Sequence[Record]:
    """What comes next; `what` names it in the log of this process. Raises `WrongLog`.

    An answer that is no record (a right is missing, a batch is spoiled) is waited out like silence:
    whoever reads goes on with what it knows, and its staleness tells.
    """
    try:
        return await reader.read(max_records)
    except LogUnavailable:
        return await wait_for(what, partial(reader.read, max_records), (LogUnavailable,))
