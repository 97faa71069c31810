"""The process of a node's follower, and who starts it again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

from events.clock import Clock
from events.errors import WrongLog
from events.process_logs import configure_logging
from events.together import run_together, until
from services.api.directory.freshness import Freshness
from services.api.errors import StoreUnavailable
from services.api.exhaustion import is_exhaustion
from services.api.metrics import COUNTERS
from services.api.node import Node
from services.api.node_clock import node_offset
from services.api.node_folder import run_folder
from services.api.node_follower import NodeFollower
from services.api.ports import follower_ports
from services.api.settings import ApiSettings

logger = logging.getLogger(__name__)

WATCH_PARENT_SECONDS = 1.0
POLL_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 5.0
#: A follower that ran for so long was well.
WELL_SECONDS = 30.0
#: It publishes the node's last counts before it ends.
STOP_SECONDS = 4.0
COMM = Path("/proc/self/comm")
NAME = "hokusai-follow"
FAILED = 1
REFUSED = 2


class FollowerProcess:
    """Runs the follower beside the workers, and starts it again whatever ends it but a log that is not ours.

    While it is away workers answer from the store, until that is too old.
    """

    def __init__(self, settings: ApiSettings, folder: Path, on_refusal: Callable[[], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._on_refusal = on_refusal
        self._freshness = Freshness(folder)
        self._process: SpawnProcess | None = None
        self._stopping = threading.Event()
        self._watching: threading.Thread | None = None
        #: Its log is not ours, as it has said on stderr.
        self.is_refused = False

    def wait_ready(self) -> bool:
        """Start it and wait until there is a store to answer from. False: its log is not ours."""
        self._freshness.begin()
        self._start(may_fill=True)
        self._watching = threading.Thread(target=self._watch, name="follower", daemon=True)
        self._watching.start()
        while not self._freshness.is_ready:
            if self.is_refused:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def stop(self) -> None:
        """End it; it has some seconds to publish what the node has counted."""
        self._stopping.set()
        deadline = time.monotonic() + STOP_SECONDS
        # Whoever watches may just be starting it again: that one is ended too.
        while self._watching is not None and self._watching.is_alive():
            process = self._process
            if process is not None and process.pid is not None and process.exitcode is None:
                process.kill() if time.monotonic() > deadline else process.terminate()
            self._watching.join(POLL_SECONDS)

    def _start(self, *, may_fill: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(
            target=_run, args=(self._settings, self._folder, may_fill), name="hokusai-auth follower"
        )
        self._process.start()

    def _watch(self) -> None:
        pause_seconds = 0.0
        while True:
            process, began = self._process, time.monotonic()
            assert process is not None
            process.join()
            if self._stopping.is_set():
                return
            if process.exitcode == REFUSED:
                self.is_refused = True
                self._on_refusal()
                # The workers may only just have begun to listen to it.
                while not self._stopping.wait(1.0):
                    self._on_refusal()
                return
            pause_seconds = 0.0 if time.monotonic() - began > WELL_SECONDS else 2 * pause_seconds + 0.1
            logger.error("the follower ended with %s and is started again", process.exitcode)
            if self._stopping.wait(min(pause_seconds, LONGEST_PAUSE_SECONDS)):
                return
            # Workers have opened the store once it was ready: no other one may take its place.
            self._start(may_fill=not self._freshness.is_ready)


def _run(settings: ApiSettings, folder: Path, may_fill: bool) -> None:
    # Ctrl-C reaches the whole group; the parent ends its follower once its workers have ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        # What `ps` shows, where a system has such a file: its workers look like any Python.
        COMM.write_text(NAME, "ascii")
    configure_logging(settings)
    try:
        asyncio.run(_follow(settings, folder, may_fill=may_fill))
    except WrongLog as error:
        if Freshness(folder).is_ready:
            logger.critical("this node can't go on: %s", error)
        else:
            print(f"hokusai-auth api: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(REFUSED)
    except StoreUnavailable as error:
        logger.critical("%s", error)
        sys.exit(FAILED)
    except Exception as error:
        if not is_exhaustion(error):
            logger.critical("the follower can't go on", exc_info=True)
        else:
            logger.exception("out of resources: the follower starts again")
        sys.exit(FAILED)


async def _follow(settings: ApiSettings, folder: Path, *, may_fill: bool) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    run = run_folder(folder)
    clock = Clock(offset=node_offset(run))
    node, ports = Node(run, COUNTERS), follower_ports(settings)
    follower = NodeFollower(settings, folder, ports, clock, node, may_fill=may_fill)

    async def follow() -> None:
        await _alone(folder)
        async with follower.started() as following:
            await following()

    await run_together(follow(), until(stopping), _outlive_no_parent())


async def _alone(folder: Path) -> None:
    """Wait until the follower of a node that was killed has noticed it: a store has one writer."""
    lock = os.open(folder / "follower.lock", os.O_RDWR | os.O_CREAT, 0o600)  # open until the process ends
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


async def _outlive_no_parent() -> None:
    """A follower whose parent was killed would write a store that the next node's follower writes too."""
    parent = multiprocessing.parent_process()
    while parent is None or parent.is_alive():
        await asyncio.sleep(WATCH_PARENT_SECONDS)
