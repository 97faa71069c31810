"""What a process runs, and how it is started."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from services.local import tether
from services.local.errors import StartFailed

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Program:
    """What to run: arguments, the whole environment, the folder to run in, another OS user than ours."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)  # holds secrets
    folder: Path | None = None
    user: str | None = None


def run_to_end(program: Program) -> None:
    """Run a program that prepares something; StartFailed with its last words when it fails."""
    run = subprocess.run(  # noqa: S603  (arguments are ours)
        program.arguments,
        env=program.environment,
        cwd=program.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        user=program.user,
        group=pwd.getpwnam(program.user).pw_gid if program.user else None,
        # With our own groups kept, files of those groups would be judged by their group's rights.
        extra_groups=[] if program.user else None,
    )
    if run.returncode:
        name = PurePath(program.arguments[0]).name
        errors = [line for line in run.stdout.splitlines() if "error" in line.lower()]
        why = errors[0] if errors else last_words(run.stdout)  # tidying up after an error may fail as well
        raise StartFailed(f"{name} failed with exit code {run.returncode}: {why}")


def last_words(log: str, mark: str = "") -> str:
    """The last line with the mark, else the last that is not the inside of a stack trace; '' without one."""
    said = [line.strip() for line in log.splitlines() if line.strip() and not line[0].isspace()]
    marked = [line for line in said if mark in line]
    return (marked or said or [""])[-1]


def spawn(program: Program, log: int, death_signal: signal.Signals) -> subprocess.Popen[bytes]:
    """Start a program that gets the signal when this process ends, however it ends; `log` takes its output.

    May be called from any thread.
    """

    def launch() -> subprocess.Popen[bytes]:
        tied = (str(int(death_signal)), str(os.getpid()), program.user or "")
        return subprocess.Popen(  # noqa: S603  (arguments are ours)
            # -I -S: nothing of the environment or of site-packages is needed, so it costs 20 ms only.
            [sys.executable, "-I", "-S", tether.__file__, *tied, *program.arguments],
            env=program.environment,
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    return _launcher().submit(launch).result()


@functools.cache
def _launcher() -> ThreadPoolExecutor:
    # The kernel's parent-death signal watches the *thread* that forked: one that lives as long as we do.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="launcher")
