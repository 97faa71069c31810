"""When a signal interrupts, and when it has to wait."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    _Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """SIGTERM, SIGINT and the terminal's hang-up raise KeyboardInterrupt in the main thread."""
    # A shell starts background jobs with SIGINT ignored; ours is asked to stop by it all the same.
    wanted = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it stays ignored
        wanted.append(signal.SIGHUP)
    with _handling(wanted, signal.default_int_handler):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """No signal that asks us to stop is heard: we are stopping already."""
    with _handling([signal.SIGTERM, signal.SIGINT, signal.SIGHUP], signal.SIG_IGN):
        yield


@contextmanager
def _handling(numbers: list[signal.Signals], handler: _Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
