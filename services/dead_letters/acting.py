"""The same done with many letters: who does it is asked first, and told what became of it."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from events.errors import LogUnavailable
from services.dead_letters import showing
from services.dead_letters.book import Entry, Filter
from services.dead_letters.work import DeadLetterQueue, OriginalGone

FAILED = 1
#: So many are named before somebody is asked.
NAMED = 10


@dataclass(frozen=True, slots=True)
class Act:
    """What is done with each of several letters: how that is called afterwards, and how many at once."""

    done: str
    on: Callable[[Entry], Coroutine[Any, Any, None]]
    at_once: int


async def act_on(
    act: Act, queue: DeadLetterQueue, named: Sequence[Entry], wanted: Filter, *, yes: bool, dry_run: bool
) -> None:
    """On the letters that are named, else on those that are wanted: ask, then act on each.

    Where a letter fails the others go on; where the log is away they do not.
    """
    count = len(named) or queue.book.count(wanted)
    for entry in itertools.islice(named or queue.book.find(wanted), None if dry_run else NAMED):
        typer.echo(showing.as_line(entry))
    if dry_run or not count:
        typer.echo(f"{count} letters are meant", err=True)
        return
    if not yes:
        typer.confirm(f"{count} letters will be {act.done}. Go on?", abort=True, err=True)
    done = 0
    try:
        entries = iter(named or queue.book.find(wanted))
        with typer.progressbar(length=count, file=sys.stderr) as bar:  # silent where nobody looks at it
            while some := list(itertools.islice(entries, act.at_once)):
                done += sum(await asyncio.gather(*(_try(act, entry, is_first=done == 0) for entry in some)))
                bar.update(len(some))
    finally:
        typer.echo(f"{done} of {count} letters are {act.done}", err=done < count)
    if done < count:
        raise typer.Exit(FAILED)


async def _try(act: Act, entry: Entry, *, is_first: bool) -> bool:
    try:
        await act.on(entry)
    except OriginalGone as error:
        typer.echo(str(error), err=True)
        return False
    except LogUnavailable as error:
        if is_first:
            raise
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    return True
