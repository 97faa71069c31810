"""Keeps processes running, and says what died."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from services.local.errors import LocalStackError, StartFailed
from services.local.process import POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.local.process import ManagedProcess

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
STABLE_SECONDS = 30.0  # a run this long wipes out the failures before it


class Supervisor:
    """Keeps processes running: starts them in waves, restarts what dies, stops the last wave first.

    `say` gets one line whenever something dies; `on_change` is called whenever a process id has changed.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._on_change = on_change
        self._clock = clock
        self._waves: list[list[_Watched]] = []

    @property
    def pids(self) -> dict[str, int]:
        """Process id by name, of everything started so far."""
        return {watched.process.name: watched.process.pid for wave in self._waves for watched in wave}

    def start(self, *processes: ManagedProcess) -> None:
        """Start them, one at least, as one wave, without waiting until they are ready."""
        wave: list[_Watched] = []
        self._waves.append(wave)
        for process in processes:
            wave.append(_Watched(process, self._clock()))
            process.start()

    def wait_ready(self, timeout_seconds: float, on_ready: Callable[[ManagedProcess], None]) -> None:
        """Return when the last wave is ready; StartFailed when anything ends first, or it takes too long."""
        deadline = time.monotonic() + timeout_seconds
        waiting = [watched.process for watched in self._waves[-1]]
        while True:
            for process in [process for process in waiting if process.is_ready()]:
                waiting.remove(process)
                on_ready(process)
            for watched in self._all():
                if not watched.process.is_running:
                    raise StartFailed(f"{watched.process.name} did not start: {watched.process.epitaph()}")
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise StartFailed(_too_slow(waiting, timeout_seconds))
            time.sleep(POLL_SECONDS)

    def revive(self) -> None:
        """Restart what has died and has waited long enough for it; call it again and again."""
        now = self._clock()
        for watched in self._all():
            if watched.process.is_running:
                continue
            if watched.restart_at is None:
                delay = watched.died(now)
                ended = f"{watched.process.name} ended: {watched.process.epitaph()}"
                self._say(f"{ended}; starting it again in {delay:g} s")
            elif now >= watched.restart_at:
                self._restart(watched, now)

    def stop(self) -> None:
        """Stop everything, the last wave first; returns when nothing is left, within 10 s."""
        while self._waves:
            wave = [watched.process for watched in self._waves[-1]]
            for process in wave:
                process.terminate()
            deadline = time.monotonic() + max(process.patience_seconds for process in wave)
            for process in wave:
                process.wait_stopped(max(0.0, deadline - time.monotonic()))
            self._waves.pop()

    def _restart(self, watched: _Watched, now: float) -> None:
        watched.started(now)
        try:
            watched.process.start()
        except (LocalStackError, OSError) as error:
            self._say(f"{watched.process.name} could not be started again: {error}")
        self._on_change()

    def _all(self) -> list[_Watched]:
        return [watched for wave in self._waves for watched in wave]


class _Watched:
    """A process and its failures: each one doubles the wait before the next try."""

    def __init__(self, process: ManagedProcess, now: float) -> None:
        self.process = process
        self.restart_at: float | None = None
        self._started_at = now
        self._failures = 0

    def died(self, now: float) -> float:
        if now - self._started_at >= STABLE_SECONDS:
            self._failures = 0
        delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**self._failures)
        self._failures += 1
        self.restart_at = now + delay
        return delay

    def started(self, now: float) -> None:
        self.restart_at = None
        self._started_at = now


def _too_slow(waiting: Sequence[ManagedProcess], timeout_seconds: float) -> str:
    names = " and ".join(process.name for process in waiting)
    logs = " and ".join(str(process.log_path) for process in waiting)
    return f"{names} not ready within {timeout_seconds:.0f} s: see {logs}"
