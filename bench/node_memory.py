"""What the processes of a node take of the machine's memory, and its folder of the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import traffic
from bench.figure import Figure, Goal
from bench.load import Request, WrongAnswers
from bench.probe import Probe, meet_every_worker
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import BenchService, Place

WORKERS = 2
#: More than a worker remembers the facts of (`services/api/directory/key_directory.py`).
ASKED_OF_EACH = 40_000
BLOCK_BYTES = 512


@dataclass(frozen=True, slots=True)
class FollowerMemory:
    """In megabytes: what it would keep without any file, what it alone has mapped, all that it has mapped."""

    anonymous: float
    uss: float
    rss: float


def follower_memory(api: BenchService) -> FollowerMemory:
    """Of the node's follower now."""
    memory = api.follower().memory_full_info()
    return FollowerMemory((memory.rss - memory.shared) / 1e6, memory.uss / 1e6, memory.rss / 1e6)


def report_follower(report: Report, memory: FollowerMemory, what: str) -> None:
    """Once it has filled the store."""
    note = f"USS {memory.uss:,.0f} MB, RSS {memory.rss:,.0f} MB"
    report.add(f"memory of the follower, {what}", Figure([memory.anonymous]), "MB", note=note)


def report_workers(report: Report, keys: SampleKeys, key_count: int, place: Place, node_folder: Path) -> None:
    """What one more worker costs, once it remembers as many keys as it ever does.

    Each answers for the same ones: a page of the store that only one of them had read would be counted as its
    own, though it is the system's.
    """
    asked = [traffic.bearer(secret) for secret in keys.some_current(key_count, ASKED_OF_EACH)]
    with place.api(WORKERS, NODE_FOLDER=str(node_folder)) as api:
        memory = asyncio.run(_memory_mb(api, asked))
    note = f"each of {WORKERS}, having answered for {len(asked):,} keys"
    report.add("memory that one more worker costs", Figure(memory), "MB", Goal(at_most=80), note)


def folder_mb(folder: Path) -> float:
    """What its files have on the disk: some of them have holes."""
    blocks = sum(file.stat().st_blocks for file in folder.rglob("*") if file.is_file())
    return blocks * BLOCK_BYTES / 1e6


async def _memory_mb(api: BenchService, asked: Sequence[Request]) -> list[float]:
    async with AsyncExitStack() as opened:
        probes = await meet_every_worker(opened, api, WORKERS, asked[0])
        await asyncio.gather(*(_ask_all(probe, asked) for probe in probes))
        return [worker.memory_full_info().uss / 1e6 for worker in api.workers()]


async def _ask_all(probe: Probe, requests: Sequence[Request]) -> None:
    for request in requests:
        answered = await probe.ask(request)
        if answered.status != 200:
            raise WrongAnswers(f"a key that should pass was answered with {answered.status}")
