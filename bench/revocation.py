"""How soon a revoked key is refused: by every worker of the node that answered, and of another node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import traffic
from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal, percentile
from bench.load import Request, WrongAnswers
from bench.probe import Asked, Probe, meet_every_worker, revoke
from bench.report import Report
from bench.revocation_among_lists import among_lists
from bench.sample_keys import SampleKeys
from bench.servers import NO_DATABASE, PEPPER, BenchService

WORKERS = 2
REVOCATIONS = 100
#: How long requests go on after the answer.
AFTERWARDS_SECONDS = 0.3
POLL_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What came after one DELETE was answered; times in seconds from that answer, one for each worker."""

    accepted_here: int
    accepted_elsewhere: int
    last_accepted_here: Sequence[float]
    refused_elsewhere: Sequence[float]


def revocation(bench: Bench, report: Report) -> None:
    """From DELETE answered to refused, on 2 nodes of 2 workers that are asked all the time; DELETE itself."""
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
    _report_here(report, found)
    _report_elsewhere(report, found)
    among_lists(bench, report)


def _report_here(report: Report, found: Sequence[Aftermath]) -> None:
    accepted = Figure([sum(each.accepted_here for each in found)])
    report.add("accepted afterwards, answering node", accepted, "requests", Goal(at_most=0))
    delays_ms = [seconds * 1000 for each in found for seconds in each.last_accepted_here]
    report.add(
        "answered -> last accepted by each worker of the same node, p99",
        Figure([percentile(delays_ms, 99)]),
        "ms",
        Goal(at_most=0),
        f"{len(delays_ms)} observations",
    )


def _report_elsewhere(report: Report, found: Sequence[Aftermath]) -> None:
    delays_ms = [seconds * 1000 for each in found for seconds in each.refused_elsewhere]
    note = f"{len(delays_ms)} observations: {len(found)} revocations, each worker of the other node"
    for percent, goal in ((50.0, None), (99.0, Goal(at_most=20))):
        figure = Figure([percentile(delays_ms, percent)])
        report.add(
            f"answered -> refused on every worker of another node, p{percent:.0f}", figure, "ms", goal, note
        )
    report.add("the latest of all", Figure([max(delays_ms)]), "ms")
    accepted = Figure([sum(each.accepted_elsewhere for each in found)])
    report.add("accepted afterwards, other node", accepted, "requests", note="sent after the answer")


async def _revoke_all(
    keys: SampleKeys, count: int, here: BenchService, elsewhere: BenchService
) -> list[Aftermath]:
    async with AsyncExitStack() as opened:
        ping = traffic.bearer(keys.secret(count))
        near, far = [await meet_every_worker(opened, server, WORKERS, ping) for server in (here, elsewhere)]
        return [await _revoke(keys, number, here, near, far) for number in range(count)]


async def _revoke(
    keys: SampleKeys, number: int, here: BenchService, near: list[Probe], far: list[Probe]
) -> Aftermath:
    request = traffic.bearer(keys.secret(number))
    ended = asyncio.Event()
    histories: list[list[Asked]] = [[] for _ in (*near, *far)]
    asking = [
        asyncio.create_task(_keep_asking(probe, request, history, ended))
        for probe, history in zip((*near, *far), histories, strict=True)
    ]
    while not all(histories):
        await asyncio.sleep(POLL_SECONDS)
    revoked = await asyncio.to_thread(revoke, here, keys.key_id(number))
    await asyncio.sleep(AFTERWARDS_SECONDS)
    ended.set()
    await asyncio.gather(*asking)
    for history in histories:
        if history[0].status != 200 or history[-1].status != 401:
            raise WrongAnswers(f"a key passed before and was refused after: {history[0]}, {history[-1]}")
    of_near, of_far = histories[: len(near)], histories[len(near) :]
    moment = revoked.answered_at
    return Aftermath(
        accepted_here=_accepted_after(of_near, moment),
        accepted_elsewhere=_accepted_after(of_far, moment),
        last_accepted_here=[_last_accepted_after(history, moment) for history in of_near],
        refused_elsewhere=[_refused_after(history, moment) for history in of_far],
    )


async def _keep_asking(probe: Probe, request: Request, history: list[Asked], ended: asyncio.Event) -> None:
    while not ended.is_set():
        history.append(await probe.ask(request))


def _accepted_after(histories: Sequence[Sequence[Asked]], moment: float) -> int:
    """Requests that were sent after the moment and passed."""
    return sum(asked.status == 200 and asked.sent_at > moment for history in histories for asked in history)


def _last_accepted_after(history: Sequence[Asked], moment: float) -> float:
    """From the moment until the last request was sent that passed; 0 where none was sent since."""
    return max([0.0, *(asked.sent_at - moment for asked in history if asked.status == 200)])


def _refused_after(history: Sequence[Asked], moment: float) -> float:
    """From the moment until the first refusal was answered; 0 where that had come before."""
    first = next(asked for asked in history if asked.status != 200)
    return max(0.0, first.answered_at - moment)


if __name__ == "__main__":
    run_bench(Path(__file__).stem, revocation)
