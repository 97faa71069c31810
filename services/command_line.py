"""What the commands that look after the log share: how they run, how they fail, how they show progress."""

from __future__ import annotations

import asyncio
import sqlite3
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

#: Exit code of a command that could not do its work; 1 says what its work has found.
CANNOT_RUN = 2

T = TypeVar("T")
Progress = Callable[[int, int], None]


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it to its end; say in a sentence why it cannot run.

    What nobody has foreseen is told with its traceback, and ends with `CANNOT_RUN` all the same: whoever
    reads exit codes must not take it for something that was found.
    """
    import psycopg

    from events.errors import EventsError

    try:
        return asyncio.run(work())
    except (EventsError, psycopg.Error, sqlite3.Error, OSError) as error:
        typer.echo(str(error).strip(), err=True)
    except (typer.Exit, typer.Abort, KeyboardInterrupt):
        raise
    except (Exception, asyncio.CancelledError):
        typer.echo(traceback.format_exc(), err=True)
    raise typer.Exit(CANNOT_RUN)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar that is told how much of how much is done; silent where nobody looks at it."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
