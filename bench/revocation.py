"""How soon a revoked key is refused: by every worker of the node that answered, and of another node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import traffic
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal, percentile
from bench.load import Request, WrongAnswers
from bench.probe import Asked, Probe, admin, meet_every_worker
from bench.report import Report
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService

WORKERS = 2
REVOCATIONS = 100
#: How long requests go on after the answer.
AFTERWARDS_SECONDS = 0.3
POLL_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Revoked:
    """What came after one DELETE was answered; times in seconds from that answer."""

    accepted_here: int
    accepted_elsewhere: int
    refused_elsewhere: Sequence[float]


def revocation(bench: Bench, report: Report) -> None:
    """From DELETE answered to refused, on 2 nodes of 2 workers, while every worker is asked all the time."""
    keys = SampleKeys(PEPPER)
    count = bench.scaled(REVOCATIONS, 10)
    place = bench.servers.place()
    records = (keys.created(number) for number in range(count + 1))
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, records))
    with (
        place.api(WORKERS, DATABASE_URL=NO_DATABASE) as here,
        place.api(WORKERS, DATABASE_URL=NO_DATABASE) as elsewhere,
    ):
        found = asyncio.run(_revoke_all(keys, count, here, elsewhere))
    delays_ms = [seconds * 1000 for each in found for seconds in each.refused_elsewhere]
    note = f"{len(delays_ms)} observations: {count} revocations, each worker of the other node"
    for percent, goal in ((50.0, None), (99.0, Goal(at_most=50))):
        figure = Figure([percentile(delays_ms, percent)])
        report.add(
            f"answered -> refused on every worker of another node, p{percent:.0f}", figure, "ms", goal, note
        )
    report.add("the latest of all", Figure([max(delays_ms)]), "ms")
    here_after = sum(each.accepted_here for each in found)
    elsewhere_after = sum(each.accepted_elsewhere for each in found)
    report.add("accepted afterwards, answering node", Figure([here_after]), "requests", Goal(at_most=0))
    report.add(
        "accepted afterwards, other node", Figure([elsewhere_after]), "requests", note="sent after the answer"
    )


async def _revoke_all(
    keys: SampleKeys, count: int, here: BenchService, elsewhere: BenchService
) -> list[Revoked]:
    async with AsyncExitStack() as opened:
        ping = traffic.bearer(keys.secret(count))
        near, far = [await meet_every_worker(opened, server, WORKERS, ping) for server in (here, elsewhere)]
        return [await _revoke(keys, number, here, near, far) for number in range(count)]


async def _revoke(
    keys: SampleKeys, number: int, here: BenchService, near: list[Probe], far: list[Probe]
) -> Revoked:
    request = traffic.bearer(keys.secret(number))
    ended = asyncio.Event()
    histories: list[list[Asked]] = [[] for _ in (*near, *far)]
    asking = [
        asyncio.create_task(_keep_asking(probe, request, history, ended))
        for probe, history in zip((*near, *far), histories, strict=True)
    ]
    while not all(histories):
        await asyncio.sleep(POLL_SECONDS)
    status, body = await asyncio.to_thread(admin, here, "DELETE", f"/api/v1/keys/{keys.key_id(number)}")
    answered_at = time.monotonic()
    if status != 200:
        raise WrongAnswers(f"DELETE answered {status} {body}")
    await asyncio.sleep(AFTERWARDS_SECONDS)
    ended.set()
    await asyncio.gather(*asking)
    for history in histories:
        if history[0].status != 200 or history[-1].status != 401:
            raise WrongAnswers(f"a key passed before and was refused after: {history[0]}, {history[-1]}")
    return Revoked(
        accepted_here=_accepted_after(histories[: len(near)], answered_at),
        accepted_elsewhere=_accepted_after(histories[len(near) :], answered_at),
        refused_elsewhere=[_refused_after(history, answered_at) for history in histories[len(near) :]],
    )


async def _keep_asking(probe: Probe, request: Request, history: list[Asked], ended: asyncio.Event) -> None:
    while not ended.is_set():
        history.append(await probe.ask(request))


def _accepted_after(histories: Sequence[Sequence[Asked]], moment: float) -> int:
    """Requests that were sent after the moment and passed."""
    return sum(asked.status == 200 and asked.sent_at > moment for history in histories for asked in history)


def _refused_after(history: Sequence[Asked], moment: float) -> float:
    """From the moment until the first refusal was answered; 0 where that had come before."""
    first = next(asked for asked in history if asked.status != 200)
    return max(0.0, first.answered_at - moment)


if __name__ == "__main__":
    run_bench(Path(__file__).stem, revocation)
