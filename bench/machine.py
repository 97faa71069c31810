"""The machine that a bench runs on: what it is, and which of its cores serve and which ask."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

#: What the hot path stands on.
PACKAGES = ("uvicorn", "uvloop", "httptools", "fastapi", "orjson", "aiokafka", "psycopg")


@dataclass(frozen=True, slots=True)
class Cores:
    """The server that is measured runs on the first, everything else on the others."""

    server: int
    others: Sequence[int]

    def pinned(self, command: Sequence[str]) -> list[str]:
        """The command, kept on the server's core."""
        return _taskset([self.server], command)

    def unpinned(self, command: Sequence[str]) -> list[str]:
        """The command, free to use all cores, although this process keeps to the others."""
        return _taskset(sorted({self.server, *self.others}), command)

    def keep_off(self) -> None:
        """This process and all that it starts from now on leave the server's core alone."""
        os.sched_setaffinity(0, set(self.others))


def split_cores() -> Cores:
    """Of the cores that this process may use. With a single one all share it, and figures mean little."""
    first, *others = sorted(os.sched_getaffinity(0))
    return Cores(first, others or [first])


def describe_machine() -> dict[str, object]:
    """What a reader needs to know of the machine to judge the figures."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        **{package: version(package) for package in PACKAGES},
    }


def _taskset(cores: Sequence[int], command: Sequence[str]) -> list[str]:
    program = shutil.which("taskset")
    if program is None:
        return list(command)
    return [program, "--cpu-list", ",".join(map(str, cores)), *command]


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
