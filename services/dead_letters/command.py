"""The commands of `hokusai-auth dlq`. 0: done, 1: something failed, 2: it cannot be done."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from services.command_line import progress_bar, run

if TYPE_CHECKING:
    from events.log import Position
    from services.dead_letters.book import Entry, Filter
    from services.dead_letters.work import DeadLetterQueue

# What the commands need is imported when they run: `hokusai-auth --help` starts fast.

T = TypeVar("T")

NOTED_AT_ONCE = 200


dlq = typer.Typer(
    help="Dead letters: records of keys.usage and keys.lifecycle that were not counted or not followed. "
    "COORDINATES are those of the record, as in `keys.usage/3@4711`. "
    "Exit codes: 0 done, 1 something failed, 2 it cannot be done (no rights, no such letter).",
    no_args_is_help=True,
)

Coordinates = Annotated[list[str] | None, typer.Argument(help="Of records; else all open ones that fit.")]
TopicOption = Annotated[str | None, typer.Option(help="Only of this topic, as keys.usage.")]
RefusedAs = Annotated[str | None, typer.Option("--refused-as", help="Only those refused as this.")]
Since = Annotated[datetime | None, typer.Option(help="Only records appended from then on (UTC).")]
Until = Annotated[datetime | None, typer.Option(help="Only records appended before (UTC).")]
Actor = Annotated[str, typer.Option(help="Who does it; kept with the letter.")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept with the letter.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which letters are meant.")]


@dlq.command("list")
def list_command(
    topic: TopicOption = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason", "--refused-as", help="Only those refused as this: unreadable, unknown key, ..."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    *,
    all_letters: Annotated[bool, typer.Option("--all", help="Also those replayed or skipped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """One line for each open letter, by the time of its record; a letter that came twice is shown once."""

    async def work(queue: DeadLetterQueue) -> None:
        from services.dead_letters import showing

        write = showing.as_json if as_json else showing.as_line
        state = None if all_letters else "open"
        for entry in queue.book.find(_filter(topic, reason, since, until, state)):
            typer.echo(write(entry))

    _run(topic, work)


@dlq.command()
def show(
    coordinates: Annotated[str, typer.Argument(help="Of the record, as in keys.usage/3@4711.")],
) -> None:
    """All of a letter: what is wrong, what was done about it, and the record, with keys cut."""
    place = _place(coordinates)

    async def work(queue: DeadLetterQueue) -> None:
        from services.dead_letters import showing
        from services.dead_letters.work import OriginalGone

        entry = _entry(queue, place)
        original, trouble = None, None
        try:
            original = await queue.original(entry.letter)
        except OriginalGone as error:
            trouble = str(error)
        stored = await queue.lookup.find(entry.letter.stands_at)
        for line in showing.as_text(entry, stored, original, trouble):
            typer.echo(line)

    _run(place.topic, work)


@dlq.command()
def replay(
    actor: Actor,
    reason: Why,
    coordinates: Coordinates = None,
    topic: TopicOption = None,
    refused_as: RefusedAs = None,
    since: Since = None,
    until: Until = None,
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Append uses again whose key is known by now: they count as of their first append, and once.

    Only uses that were refused as `unknown key` can be replayed, within 90 days. The same version would
    refuse all others again, for what they say; a newer one that reads them fills its schema again and takes
    each in its place, keys.lifecycle included. A use that is refused again is open again.
    """

    async def work(queue: DeadLetterQueue) -> None:
        from services.dead_letters.acting import Act, act_on
        from services.dead_letters.work import REPLAYABLE, check_replayable, writer

        wanted = _filter(topic, refused_as, since, until, "open")
        named = _named(queue, coordinates)
        for entry in named:
            check_replayable(queue.settings, entry.letter)
        if not named:
            usage = dataclasses.replace(wanted, topic=queue.settings.usage.name, reason=REPLAYABLE)
            others = queue.book.count(wanted) - queue.book.count(usage)
            if others:
                typer.echo(f"{others} others would be refused again: see --help", err=True)
            wanted = usage
        async with writer(queue.settings) as log:
            act = Act("replayed", lambda entry: queue.replay(log, entry, actor, reason), at_once=1)
            await act_on(act, queue, named, wanted, yes=yes, dry_run=dry_run)

    _run(topic, work)


@dlq.command()
def skip(
    actor: Actor,
    reason: Why,
    coordinates: Coordinates = None,
    topic: TopicOption = None,
    refused_as: RefusedAs = None,
    since: Since = None,
    until: Until = None,
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Leave letters at what they are, and note beside each who decided so and why.

    A use that was skipped can still be replayed by its coordinates.
    """

    async def work(queue: DeadLetterQueue) -> None:
        from services.dead_letters.acting import Act, act_on
        from services.dead_letters.work import writer

        wanted = _filter(topic, refused_as, since, until, "open")
        async with writer(queue.settings) as log:
            act = Act(
                "skipped",
                lambda entry: queue.note(log, "skipped", entry.letter, actor, reason),
                at_once=NOTED_AT_ONCE,
            )
            await act_on(act, queue, _named(queue, coordinates), wanted, yes=yes, dry_run=dry_run)

    _run(topic, work)


def _filter(
    topic: str | None, reason: str | None, since: datetime | None, until: datetime | None, state: str | None
) -> Filter:
    from services.dead_letters.book import Filter

    return Filter(topic, reason, _time_text(since), _time_text(until), state)


def _time_text(time: datetime | None) -> str | None:
    """As letters write it, so that texts compare as times do."""
    return None if time is None else time.replace(tzinfo=UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def _place(text: str) -> Position:
    from events.replays import parse_place

    place = parse_place(text)
    if place is None:
        raise typer.BadParameter(f"{text!r} is no coordinates: they are like keys.usage/3@4711")
    return place


def _named(queue: DeadLetterQueue, coordinates: Sequence[str] | None) -> Sequence[Entry]:
    return [_entry(queue, _place(text)) for text in dict.fromkeys(coordinates or ())]


def _entry(queue: DeadLetterQueue, place: Position) -> Entry:
    from events.errors import EventsError

    entry = queue.book.at(place)
    if entry is None:
        raise EventsError(f"there is no letter of {place}")
    return entry


def _run(topic: str | None, work: Callable[[DeadLetterQueue], Coroutine[Any, Any, T]]) -> T:
    """Read the letters under a progress bar, then work."""

    async def read_and_work() -> T:
        from events.errors import EventsError
        from events.topics import LogSettings
        from services.dead_letters.work import open_queue, topics_of_letters

        settings = LogSettings.from_environment(os.environ)
        if topic not in (None, *topics_of_letters(settings)):
            names = " and ".join(topics_of_letters(settings))
            raise EventsError(f"{topic} has no dead letters: only {names} have")
        async with AsyncExitStack() as opened:
            with progress_bar("reading dead letters") as progress:
                queue = await opened.enter_async_context(open_queue(settings, topic, progress))
            return await work(queue)

    return run(read_and_work)
