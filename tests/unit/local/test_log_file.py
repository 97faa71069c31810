"""What a process writes is kept in files of bounded size, line by line."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.log_file import LONGEST_LINE_BYTES, LogFile


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "logs" / "api.log", most_bytes=10_000, backups=4)


def run(log: LogFile, program: str) -> None:
    """Run it to its end, its output into the log."""
    sink = log.begin()
    subprocess.run([sys.executable, "-c", program], stdout=sink, stderr=sink, check=True)
    os.close(sink)
    log.finish()


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "logs").iterdir())


def test_what_a_process_writes_is_there_when_it_has_ended(log: LogFile) -> None:
    run(log, "print('hello'); print('last words', end='')")
    assert log.of_this_run() == "hello\nlast words\n"
    assert log.of_this_run(6) == "words\n"


def test_a_run_is_read_apart_from_those_before_it(log: LogFile, tmp_path: Path) -> None:
    run(log, "print('first')")
    run(log, "print('second')")
    assert log.of_this_run() == "second\n"
    assert files(tmp_path)[0].read_text() == "first\nsecond\n"


def test_no_line_is_lost_or_torn_when_files_are_full(log: LogFile, tmp_path: Path) -> None:
    run(log, "for n in range(700): print(f'{n:05d} ' + 'x' * 50)")
    lines = [f"{n:05d} " + "x" * 50 for n in range(700)]
    assert log.of_this_run().splitlines() == lines
    assert len(files(tmp_path)) == 4
    for file in files(tmp_path):
        assert file.stat().st_size <= 10_000
        assert all(len(line) == 56 for line in file.read_text().splitlines())


def test_all_files_together_are_bounded(log: LogFile, tmp_path: Path) -> None:
    run(log, "for n in range(5000): print(f'{n:05d} ' + 'x' * 50)")
    assert len(files(tmp_path)) == 5
    assert sum(file.stat().st_size for file in files(tmp_path)) <= 50_000
    kept = log.of_this_run().splitlines()
    assert kept[-1].startswith("04999")
    assert [int(line[:5]) for line in kept] == list(range(5000 - len(kept), 5000))


def test_a_line_without_an_end_fills_no_memory(log: LogFile) -> None:
    run(log, f"import sys; sys.stdout.write('x' * {3 * LONGEST_LINE_BYTES})")
    assert log.of_this_run().count("x") <= 3 * LONGEST_LINE_BYTES


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files of this process can't grow, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_stops_no_process(log: LogFile, full_disk: None) -> None:
    """Its lines are lost, but it goes on and ends as it would."""
    run(log, "for n in range(20_000): print('x' * 50)")
    assert log.of_this_run() == ""
