"""The auditor's reader: `hokusai-auth audit replay` and `audit verify`. Reads only, changes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from services.command_line import CANNOT_RUN, Progress, progress_bar, run

if TYPE_CHECKING:
    from events.keeper.verification import Verification
    from events.settings import Settings
    from services.projector.history import HistoryLine
    from services.projector.settings import ProjectorSettings

# What the commands need is imported when they run: `hokusai-auth --help` starts fast.

T = TypeVar("T")
SettingsT = TypeVar("SettingsT", bound="Settings")

FOUND_DIFFERENT = 1
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
def verify_command(
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds that Postgres may take to get to where the log ends now.")
    ] = 30.0,
    at_position: Annotated[
        bool,
        typer.Option(
            "--at-position",
            help="Compare up to the offsets that Postgres is at, and don't wait. What is not there yet is "
            "told, and is no difference.",
        ),
    ] = False,
    only: Annotated[
        Literal["projector", "billing"] | None,
        typer.Option(help="Leave the other schema out, where a platform has none."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Compare all of Postgres with the log, to where the log ends now.

    Exit code 0: all is there and equal. 1: something differs, or is not there in time: records that are not
    applied, sums that are not published, months that are due and not closed. 2: nothing that could be
    compared differs, but not all could be: no answer, no schema, another version's, or a missing right.
    """
    from services.projector.settings import ProjectorSettings

    schemas = [only] if only else ["projector", "billing"]
    patience_seconds = 0.0 if at_position else wait
    audited = _run(
        ProjectorSettings, lambda settings, progress: _verify(settings, schemas, patience_seconds, progress)
    )
    exit_code = audited.exit_code(at_position=at_position)
    if as_json:
        typer.echo(json.dumps({"equal": exit_code == 0, **audited.as_json()}))
    else:
        _print_audited(audited, exit_code, at_position=at_position)
        for loss in _run(ProjectorSettings, _losses) if audited.differences else ():
            typer.echo(f"the log has lost records whose rows are kept: {loss}", err=True)
    raise typer.Exit(exit_code)


@dataclasses.dataclass
class _Audited:
    """What was found in each schema, and of which ones nothing can be told, and why."""

    found: dict[str, Verification] = dataclasses.field(default_factory=dict)
    untold: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def differences(self) -> int:
        return sum(found.differences.count for found in self.found.values())

    @property
    def behind(self) -> list[str]:
        return [f"{schema}: {what}" for schema, found in self.found.items() for what in found.behind]

    def exit_code(self, *, at_position: bool) -> int:
        """What is known to differ is told first, whatever else cannot be told."""
        if self.differences or (self.behind and not at_position):
            return FOUND_DIFFERENT
        return CANNOT_RUN if self.untold else 0

    def as_json(self) -> dict[str, object]:
        schemas = {
            schema: {
                "differences": found.differences.count,
                "listed": found.differences.listed,
                "lag": [lag._asdict() for lag in found.lag],
                "unpublished": found.unpublished,
                "due": found.due,
            }
            for schema, found in self.found.items()
        }
        return {"schemas": schemas, "cannot_tell": self.untold}


async def _verify(
    settings: ProjectorSettings, schemas: Sequence[str], patience_seconds: float, progress: Progress
) -> _Audited:
    """Each schema by itself: what is wrong with one keeps nobody from comparing the other."""
    import psycopg

    from events.errors import EventsError
    from services.billing.verification import verify as verify_billing
    from services.projector.verification import verify as verify_projector

    audited = _Audited()
    for schema in schemas:
        verify = verify_projector if schema == "projector" else verify_billing
        try:
            audited.found[schema] = await verify(
                settings, settings, settings.database_url, progress, patience_seconds
            )
        except (EventsError, psycopg.Error, OSError) as error:
            audited.untold[schema] = str(error).strip()
    return audited


async def _losses(settings: ProjectorSettings, progress: Progress) -> list[str]:
    """What an operator has given up: differences may stem from it. Nothing where nobody can say."""
    import psycopg

    from events.keeper.database import connect
    from events.keeper.losses import accepted_losses

    with suppress(psycopg.Error):
        async with await connect(settings.database_url, "projector") as connection:
            return list(await accepted_losses(connection))
    return []


def _print_audited(audited: _Audited, exit_code: int, *, at_position: bool) -> None:
    for found in audited.found.values():
        for difference in found.differences.listed:
            typer.echo(difference)
    for what in audited.behind:
        typer.echo(what)
    for schema, why in audited.untold.items():
        typer.echo(f"cannot tell whether {schema} is what the log says: {why}", err=True)
    if audited.differences:
        typer.echo(f"Postgres differs from the log in {audited.differences} places", err=True)
    elif exit_code == FOUND_DIFFERENT:
        typer.echo("Postgres is what the log says, but not all of it", err=True)
    elif exit_code == 0:
        up_to = "the offsets that it is at" if at_position else "where the log ended when this began"
        typer.echo(f"Postgres is what the log says, row for row, up to {up_to}")


def _run(settings: type[SettingsT], work: Callable[[SettingsT, Progress], Coroutine[Any, Any, T]]) -> T:
    async def work_on_settings() -> T:
        with progress_bar("folding the log") as progress:
            return await work(settings.from_environment(os.environ), progress)

    return run(work_on_settings)


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
