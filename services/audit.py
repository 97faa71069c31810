"""The auditor's reader: `hokusai-auth audit replay` and `audit verify`. Reads only, changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from events.settings import Settings
    from services.projector.history import HistoryLine
    from services.projector.settings import ProjectorSettings

# What the commands need is imported when they run: `hokusai-auth --help` starts fast.

T = TypeVar("T")
SettingsT = TypeVar("SettingsT", bound="Settings")
Progress = Callable[[int, int], None]

FOUND_DIFFERENT = 1
CANNOT_RUN = 2
LISTED_DIFFERENCES = 100
WIDTH_OF_A_FILE = 240

audit = typer.Typer(
    help="Read the log as an auditor: fold it, compare Postgres with it.", no_args_is_help=True
)


@audit.command("replay")
def replay_command(
    key: Annotated[str | None, typer.Option(help="key_id: print the whole history of its lineage.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Fold keys.lifecycle from its first record and print what it comes to, or one key's history."""
    from events.topics import LogSettings
    from services.projector.history import key_history, summarize

    if key is None:
        summary = _run(LogSettings, lambda settings, progress: summarize(settings, settings, progress))
        _print_numbers(dataclasses.asdict(summary), as_json=as_json)
        return
    lines = _run(LogSettings, lambda settings, progress: key_history(settings, settings, key, progress))
    if not lines:
        typer.echo(f"the log has no key {key}", err=True)
        raise typer.Exit(FOUND_DIFFERENT)
    _print_history(lines, as_json=as_json)


@audit.command("verify")
def verify_command() -> None:
    """Compare every row in Postgres with the log. 0: equal, 1: different, 2: cannot run."""
    from services.projector.settings import ProjectorSettings

    differences = _run(ProjectorSettings, _verify)
    for difference in differences[:LISTED_DIFFERENCES]:
        typer.echo(difference)
    if differences:
        typer.echo(f"Postgres differs from the log in {len(differences)} places", err=True)
        for loss in _run(ProjectorSettings, _losses):
            typer.echo(f"the log has lost records whose rows are kept: {loss}", err=True)
        raise typer.Exit(FOUND_DIFFERENT)
    typer.echo("Postgres is what the log says, row for row")


async def _verify(settings: ProjectorSettings, progress: Progress) -> list[str]:
    """What differs in the schemas that are there; a platform without billing has none of its own."""
    from services.projector.verification import verify as verify_projection

    differences = await verify_projection(settings, settings, settings.database_url, progress)
    if await _is_there("billing", settings.database_url):
        from services.billing.verification import verify as verify_bills

        differences += await verify_bills(settings, settings, settings.database_url, progress)
    return differences


async def _losses(settings: ProjectorSettings, progress: Progress) -> list[str]:
    """What an operator has given up: differences may stem from it."""
    from events.keeper.database import connect
    from events.keeper.losses import accepted_losses

    async with await connect(settings.database_url, "projector") as connection:
        return list(await accepted_losses(connection))


async def _is_there(schema: str, database_url: str) -> bool:
    from events.keeper.database import connect
    from events.queries import load_queries

    async with await connect(database_url, schema) as connection:
        cursor = await connection.execute(load_queries("events.keeper")["has_schema_version"])
        return await cursor.fetchone() == (True,)


def _run(settings: type[SettingsT], work: Callable[[SettingsT, Progress], Coroutine[Any, Any, T]]) -> T:
    """Run it under a progress bar; say in a sentence why it cannot run."""
    import psycopg
    from rich import progress
    from rich.console import Console

    from events.errors import EventsError

    console = Console(stderr=True)
    columns = (
        progress.TextColumn("folding the log"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    try:
        read = settings.from_environment(os.environ)
        with progress.Progress(
            *columns, console=console, disable=not console.is_terminal, transient=True
        ) as bar:
            task = bar.add_task("fold", total=None)
            return asyncio.run(work(read, lambda done, total: bar.update(task, completed=done, total=total)))
    except psycopg.errors.UndefinedTable:
        reason = "there is no schema `projector` in this database: start a projector first"
    except (EventsError, psycopg.Error) as error:
        reason = str(error)
    typer.echo(reason, err=True)
    raise typer.Exit(CANNOT_RUN)


def _print_numbers(numbers: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    for name, number in numbers.items():
        typer.echo(f"{number:>12,} {name.replace('_', ' ')}")


def _print_history(lines: Sequence[HistoryLine], *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if as_json:
        for line in lines:
            typer.echo(json.dumps(dataclasses.asdict(line), default=lambda time: time.isoformat()))
        return
    table = Table(box=None)
    for column in ("time", "event", "key", "sequence", "record", "actor", "outcome"):
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*("-" if value is None else str(value) for value in dataclasses.astuple(line)))
    Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE).print(table)


if __name__ == "__main__":
    audit()
