"""The steps of starting up, as people see them: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console


class Steps(Protocol):
    """The steps of starting up, shown while they happen; what is still open at the end did not succeed."""

    def begin(self, step: str, label: str) -> None: ...

    def done(self, step: str) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def steps_on(console: Console) -> Steps:
    """A live list on a terminal, plain lines elsewhere."""
    return LiveSteps(console) if console.is_terminal else PlainSteps(console)


class LiveSteps:
    def __init__(self, console: Console) -> None:
        columns = (SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), _Seconds())
        self._progress = Progress(*columns, console=console)
        self._tasks: dict[str, TaskID] = {}

    def begin(self, step: str, label: str) -> None:
        self._tasks[step] = self._progress.add_task(label, total=1)

    def done(self, step: str) -> None:
        self._progress.update(self._tasks[step], completed=1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class PlainSteps:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}

    def begin(self, step: str, label: str) -> None:
        self._began[step] = time.monotonic()
        self._print(f"{label} ...")

    def done(self, step: str) -> None:
        self._print(f"{step}: ready ({time.monotonic() - self._began[step]:.1f} s)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Seconds(ProgressColumn):
    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        return Text(f"{elapsed or 0:.1f} s", style="dim")
