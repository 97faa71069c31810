"""A host whose clocks a test can move: a library that the dynamic linker puts in front of the C library's.

Every process that is started with `environment` reads both clocks through it, and takes its own moves of
them from a file that it maps. Wants a C compiler; without one there is nothing to test.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *moves;

__attribute__((constructor)) static void map_moves(void) {
    int file = open(getenv("HOST_CLOCKS"), O_RDONLY);
    moves = mmap(0, 2 * sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    close(file);
}

int clock_gettime(clockid_t which, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, which, at);
    if (moves && which == CLOCK_REALTIME) at->tv_sec += moves[0];
    if (moves && which == CLOCK_BOOTTIME) at->tv_sec += moves[1];
    return result;
}
"""


class HostClocks:
    """The wall clock and the time since boot, as processes with `environment` see them."""

    def __init__(self, folder: Path) -> None:
        if (compiler := shutil.which("cc")) is None:
            pytest.skip("needs a C compiler")
        source, library, moves = (folder / name for name in ("clocks.c", "clocks.so", "moves"))
        source.write_text(SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        moves.write_bytes(bytes(16))
        with moves.open("r+b") as file:
            self._moves = mmap.mmap(file.fileno(), 16)
        self._wall_seconds = self._boottime_seconds = 0
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "HOST_CLOCKS": str(moves)}

    def step(self, seconds: int) -> None:
        """Somebody sets the wall clock."""
        self._move(seconds, 0)

    def suspend(self, seconds: int) -> None:
        """The host sleeps: no monotonic time passes."""
        self._move(seconds, seconds)

    def _move(self, wall_seconds: int, boottime_seconds: int) -> None:
        self._wall_seconds += wall_seconds
        self._boottime_seconds += boottime_seconds
        struct.pack_into("ll", self._moves, 0, self._wall_seconds, self._boottime_seconds)
