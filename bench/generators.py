"""Load generators as programs: `wrk` where it is installed, else one over the package geventhttpclient."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import Generator, Load, Measured, Traffic, read_measured

SCRIPT = Path(__file__).parent / "wrk.lua"


def best_generator() -> Generator:
    """wrk, where there is one: it asks faster than any Python server answers."""
    program = shutil.which("wrk")
    if program is not None:
        return Wrk(program)
    if importlib.util.find_spec("geventhttpclient") is None:
        raise SystemExit("no load generator: install wrk, or hokusai-auth[bench]")
    return GeventLoad()


class _Program(ABC):
    name: str

    @abstractmethod
    def command(self, url: str, plan: Path, load: Load) -> list[str]:
        """What to run; it prints JSON as `read_measured` expects it."""

    @abstractmethod
    def plan(self, url: str, traffic: Traffic) -> bytes:
        """The traffic in a file, as the program reads it."""

    def run(self, url: str, traffic: Traffic, load: Load) -> Measured:
        """See `Generator.run`."""
        return self.run_together([(url, traffic)], load)[0]

    def run_together(self, pairs: Sequence[tuple[str, Traffic]], load: Load) -> list[Measured]:
        """See `Generator.run_together`."""
        with ExitStack() as stack:
            plans = [(url, stack.enter_context(self._written(url, traffic))) for url, traffic in pairs]
            running = [
                subprocess.Popen(self.command(url, plan, load), stdout=subprocess.PIPE)  # noqa: S603
                for url, plan in plans
            ]
            return [_finish(process) for process in running]

    @contextmanager
    def _written(self, url: str, traffic: Traffic) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(prefix="bench-plan-") as file:
            file.write(self.plan(url, traffic))
            file.flush()
            yield Path(file.name)


class Wrk(_Program):
    """wrk with one thread: the script sees every answer."""

    name = "wrk"

    def __init__(self, program: str) -> None:
        self._program = program

    def command(self, url: str, plan: Path, load: Load) -> list[str]:
        options = ("-t1", f"-c{load.connections}", f"-d{max(1, round(load.seconds))}s", "--timeout", "10s")
        return [self._program, *options, "-s", str(SCRIPT), url, "--", str(plan), str(load.pause_ms)]

    def plan(self, url: str, traffic: Traffic) -> bytes:
        """Blocks, each after its length in a line: first what to expect, then the requests."""
        host = urlsplit(url).netloc
        blocks = [f"{status} {text}".encode() for status, text in traffic.answers.items()]
        counts = f"{len(blocks)} {len(traffic.requests)}\n".encode()
        blocks += [request.raw(host) for request in traffic.requests]
        return counts + b"".join(b"%d\n%s" % (len(block), block) for block in blocks)


class GeventLoad(_Program):
    """Much slower than wrk: what it measures of a fast server is its own limit. It says so."""

    name = "geventhttpclient"

    def command(self, url: str, plan: Path, load: Load) -> list[str]:
        numbers = (str(load.connections), str(load.seconds), str(load.pause_ms))
        return [sys.executable, "-m", "bench.gevent_load", url, str(plan), *numbers]

    def plan(self, url: str, traffic: Traffic) -> bytes:
        """JSON with the names of `Traffic`."""
        requests = [[each.path, dict(each.headers), each.body.decode()] for each in traffic.requests]
        return json.dumps({"requests": requests, "answers": dict(traffic.answers)}).encode()


def _finish(process: subprocess.Popen[bytes]) -> Measured:
    assert process.stdout is not None
    output = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the load generator failed with exit code {process.returncode}: {output[-500:]}")
    return read_measured(output, usage.ru_utime + usage.ru_stime)
