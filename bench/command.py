"""What every bench is as a command: `python -m bench.<name> [--quick]`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from bench.generators import best_generator
from bench.load import Generator
from bench.machine import Cores, describe_machine, split_cores
from bench.report import Report
from bench.servers import Servers

REPEATS = 5
WIDTH_OF_A_FILE = 180


@dataclass(frozen=True, slots=True)
class Bench:
    """What a bench works with. `quick`: smaller and shorter, to see that it works at all."""

    cores: Cores
    generator: Generator
    servers: Servers
    quick: bool

    @property
    def repeats(self) -> int:
        return 2 if self.quick else REPEATS

    @property
    def seconds(self) -> float:
        """How long one measurement takes."""
        return 1.0 if self.quick else 5.0

    def scaled(self, count: int, quick: int) -> int:
        return quick if self.quick else count


Measure = Callable[[Bench, Report], None]


def run_bench(name: str, measure: Measure) -> None:
    """Run one bench as the command line asks for it; print and write what it finds."""
    run(name, measure, quick=bench_parser(name, measure).parse_args().quick)


def bench_parser(name: str, measure: Callable[..., None]) -> argparse.ArgumentParser:
    """The options that every bench has; some add their own."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=measure.__doc__)
    parser.add_argument("--quick", action="store_true", help="try it out; the figures mean nothing")
    return parser


def run(name: str, measure: Measure, *, quick: bool) -> None:
    """The same, told by a caller."""
    logging.basicConfig(level=logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the servers end with us
    cores = split_cores()
    generator = best_generator()
    report = Report(name, {**describe_machine(), "load_generator": generator.name}, quick)
    cores.keep_off()
    with Servers(cores) as servers:
        measure(Bench(cores, generator, servers, quick), report)
    report.print(Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE))
    report.write()
