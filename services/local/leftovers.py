"""Processes that a killed `up` has left behind: known again and ended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import signal
    from pathlib import Path

_PATIENCE_SECONDS = 5.0


def remember(pid_path: Path, pid: int) -> None:
    """Note a process by its id and its birth, so that a recycled id is never mistaken for it."""
    with suppress(psutil.NoSuchProcess):
        born = psutil.Process(pid).create_time()
        pid_path.parent.mkdir(parents=True, exist_ok=True)
        pid_path.write_text(f"{pid} {born}")


def end_leftover(pid_path: Path, stop_signal: signal.Signals) -> None:
    """End the process noted there, and all it started, if it still runs; SIGKILL after 5 s."""
    leftover = _noted(pid_path)
    if leftover is None:
        return
    with suppress(psutil.NoSuchProcess):
        family = [leftover, *leftover.children(recursive=True)]
        leftover.send_signal(stop_signal)
        leftover.resume()
        _, alive = psutil.wait_procs(family, timeout=_PATIENCE_SECONDS)
        kill_all(alive)
    pid_path.unlink(missing_ok=True)


def descendants(pid: int) -> list[psutil.Process]:
    """Whatever a process has started, directly or not, and still runs."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_all(processes: list[psutil.Process]) -> None:
    """SIGKILL them; returns when they are gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_PATIENCE_SECONDS)


def _noted(pid_path: Path) -> psutil.Process | None:
    try:
        pid, born = pid_path.read_text().split()
        process = psutil.Process(int(pid))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if abs(process.create_time() - float(born)) < 1.0 else None
