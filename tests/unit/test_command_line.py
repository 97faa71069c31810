"""How a command ends: what it has found is told by 0 and 1, and by nothing else."""

from __future__ import annotations

import asyncio

import pytest
import typer

from events.errors import LogUnavailable
from services.command_line import CANNOT_RUN, run


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LogUnavailable("no answer"), "no answer\n"),
        (ConnectionResetError("gone"), "gone\n"),
        (ZeroDivisionError("unforeseen"), "Traceback (most recent call last):"),
        # A library that cancels what is its own may let it out: nobody has cancelled the command.
        (asyncio.CancelledError(), "Traceback (most recent call last):"),
    ],
)
def test_what_ends_a_command_is_not_taken_for_what_it_found(
    error: BaseException, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        run(work)
    assert ended.value.exit_code == CANNOT_RUN
    assert capsys.readouterr().err.startswith(said)


def test_a_command_may_end_by_itself() -> None:
    async def work() -> None:
        raise typer.Exit(1)

    with pytest.raises(typer.Exit) as ended:
        run(work)
    assert ended.value.exit_code == 1
