"""A process that is ours: started, asked, stopped, killed, paused."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Self

from services.local.errors import StartFailed
from services.local.leftovers import descendants, end_leftover, kill_all, remember
from services.local.log_file import LogFile
from services.local.program import last_words, spawn

if TYPE_CHECKING:
    from pathlib import Path

    from services.local.program import Program

POLL_SECONDS = 0.05
_LAST_BYTES = 64 * 1024


class ManagedProcess(ABC):
    """A program that belongs to this process and ends with it, even when this process is killed.

    Its output goes to `<data_dir>/logs/<name>.log`. It runs in a session of its own, so that Ctrl-C
    reaches it through us, in our order. A run that somebody else's death left behind is ended before a
    new one starts. Every method may be called from any thread.
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    patience_seconds: ClassVar[float] = 3.0  # between asking it to end and killing it
    failure_mark: ClassVar[str] = ""  # what a line of its log holds that says why it failed

    def __init__(self, name: str, data_dir: Path) -> None:
        self.name = name
        self.log_path = data_dir / "logs" / f"{name}.log"
        self._log = LogFile(self.log_path)
        self._pid_path = data_dir / "run" / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._swept = True

    @abstractmethod
    def program(self) -> Program:
        """Make everything ready on disk and say what to run."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Ask once, without waiting, whether it does its work."""

    @property
    def label(self) -> str:
        """What a person should read while it starts."""
        return self.name

    @property
    def pid(self) -> int:
        """Process id of the newest run; 0 before the first."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """Exit code of the newest run (minus the signal where one ended it); None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it without waiting until it is ready; nothing happens while it runs."""
        if self.is_running:
            return
        self._sweep()
        end_leftover(self._pid_path, self.stop_signal)
        program = self.program()
        log = self._log.begin()
        try:
            self._process = spawn(program, log, self.stop_signal)
        finally:
            os.close(log)
        self._swept = False
        remember(self._pid_path, self._process.pid)

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Return once it does its work; StartFailed when it ends first or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if not self.is_running:
                raise StartFailed(f"{self.name} did not start: {self.epitaph()}")
            if time.monotonic() > deadline:
                raise StartFailed(
                    f"{self.name} was not ready within {timeout_seconds:.0f} s; its log is {self.log_path}"
                )
            time.sleep(POLL_SECONDS)

    def epitaph(self) -> str:
        """How the newest run ended: exit code, its last words, where its log is."""
        words = last_words(self.log_of_this_run(_LAST_BYTES), self.failure_mark)
        return f"exit code {self.exit_code}, last words {words!r}; its log is {self.log_path}"

    def log_of_this_run(self, last_bytes: int | None = None) -> str:
        """What this run has written so far, or only the end of it."""
        if not self.is_running:
            self._log.finish()
        return self._log.of_this_run(last_bytes)

    def terminate(self) -> None:
        """Ask it to end; returns at once."""
        if self._process:
            self._process.send_signal(self.stop_signal)
            self.resume()  # a paused process would never see the signal

    def stop(self) -> None:
        """Ask it to end, kill it when it takes too long; returns when nothing of it is left."""
        self.terminate()
        self.wait_stopped(self.patience_seconds)

    def wait_stopped(self, timeout_seconds: float) -> None:
        """Wait for the end that `terminate` asked for, kill it when it takes too long."""
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_seconds)
            self.kill()

    def kill(self) -> None:
        """Like `kill -9`, on it and on what it started; returns when it is gone."""
        if self._process:
            self.pause()  # so that it starts nothing more while we look
            started_by_it = descendants(self._process.pid) if self.is_running else []
            self._process.kill()
            self._process.wait()
            kill_all(started_by_it)
            self._sweep()
            self._pid_path.unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP: alive, but answering nothing until `resume`. Returns once it stands still."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)
            with suppress(ChildProcessError):  # it had ended already
                os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _sweep(self) -> None:
        # A killed server with worker processes leaves them behind, holding its port.
        if self._process and not self._swept:
            self._swept = True  # once only: its id may belong to others later
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
