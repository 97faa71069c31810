"""Whether the log is ours, asked again and again."""

from __future__ import annotations

import asyncio

import pytest

from events.errors import LogLost, LogUnavailable, WrongLog
from events.keeper.log_watch import LogWatch
from events.keeper.metrics import Metrics
from events.together import run_together

pytestmark = pytest.mark.anyio


class Answers:
    """What asking brings, one after the other; the last one for ever."""

    def __init__(self, *answers: Exception | None) -> None:
        self._answers = list(answers)
        self.all_given = asyncio.Event()

    async def __call__(self) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if len(self._answers) == 1:
            self.all_given.set()
        if answer is not None:
            raise answer


async def test_the_first_answer_is_the_callers_to_handle() -> None:
    with pytest.raises(WrongLog):
        await LogWatch(Answers(WrongLog("another")), 60, Metrics("projector")).start()


async def test_a_log_that_turns_wrong_is_wrong_until_it_is_ours_again() -> None:
    watch = LogWatch(Answers(None, WrongLog("forgets"), None), 0.001, Metrics("projector"))
    await watch.start()
    assert watch.ours.is_set()
    await run_together(watch.run(), _until(watch.wrong))
    assert not watch.ours.is_set()
    await run_together(watch.run(), _until(watch.ours))
    assert not watch.wrong.is_set()


async def test_no_answer_changes_nothing() -> None:
    answers = Answers(None, LogUnavailable("away"), LogUnavailable("still away"))
    watch = LogWatch(answers, 0.001, Metrics("projector"))
    await watch.start()
    await run_together(watch.run(), _until(answers.all_given))
    assert watch.ours.is_set()


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def test_lost_records_are_waited_for_from_the_start() -> None:
    watch = LogWatch(Answers(LogLost("its tail"), None), 0.001, Metrics("projector"))
    await watch.start()
    assert (watch.ours.is_set(), watch.wrong.is_set()) == (False, True)
    await run_together(watch.run(), _until(watch.ours))
    assert not watch.wrong.is_set()


async def test_who_hurries_it_does_not_wait_for_the_next_minute() -> None:
    watch = LogWatch(Answers(None, WrongLog("forgets")), 3600, Metrics("projector"))
    await watch.start()
    watch.hurry()
    await run_together(watch.run(), _until(watch.wrong))
