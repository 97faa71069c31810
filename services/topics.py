"""`hokusai-auth topics`: create the topics that are missing, tell which differ from what was agreed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

# What the commands need is imported when they run: `hokusai-auth --help` starts fast.

topics = typer.Typer(help="The topics of the log: create them, compare them.", no_args_is_help=True)


@topics.command()
def apply() -> None:
    """Create the topics that are missing. What exists is compared, never altered."""
    with _failing_in_sentences():
        from events.topic_admin import apply_topics
        from events.topics import LogSettings

        log = LogSettings.from_environment(os.environ)
        created = asyncio.run(apply_topics(log, log))
    typer.echo(f"created {', '.join(created)}" if created else "every topic exists already")


@topics.command()
def check() -> None:
    """Compare the topics with what was agreed: one sentence and exit code 1 for differences."""
    with _failing_in_sentences():
        from events.errors import TopicMismatch
        from events.topic_admin import compare_topics
        from events.topics import LogSettings

        log = LogSettings.from_environment(os.environ)
        differences = asyncio.run(compare_topics(log, log))
        if differences:
            raise TopicMismatch(differences)
    typer.echo("every topic is as agreed")


@contextmanager
def _failing_in_sentences() -> Iterator[None]:
    from events.errors import EventsError, SettingsError, TopicMismatch

    try:
        yield
    except TopicMismatch as error:
        sentences = error.differences
    except SettingsError as error:
        sentences = error.problems
    except EventsError as error:
        sentences = (str(error),)
    else:
        return
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(1)
