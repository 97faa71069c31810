"""Dead letters on their way to their topic: each is sent once, however often its batch is tried."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from events.dead_letters import DeadLetter
from events.errors import LogUnavailable, RecordRefused
from events.log import EventLog

#: How long a batch waits for its letters; they go on being sent when it gives up.
PATIENCE_SECONDS = 5.0
#: Thousands that wait for room in the producer take it ten times as long as a few hundred.
SENT_AT_ONCE = 200

logger = logging.getLogger(__name__)


class DeadLetterOutbox:
    """Sends the dead letters of a projection. A letter counts as sent once the log has acknowledged it."""

    def __init__(self, log: EventLog, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._room = asyncio.Semaphore(SENT_AT_ONCE)
        self._sending: dict[tuple[str, int, int], asyncio.Task[None]] = {}

    async def append(self, letters: Sequence[DeadLetter]) -> None:
        """Return once the log has them all. Raises `LogUnavailable` after 5 s: call it again then.

        What is under way by then is waited for the next time, and not sent again. What the log had no
        answer for is.
        """
        if not letters:
            return
        sending = [self._task(letter) for letter in letters]
        done, pending = await asyncio.wait(
            sending, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_EXCEPTION
        )
        failed = [task for task in done if task.exception() is not None]
        for place, task in list(self._sending.items()):
            if task in failed:
                del self._sending[place]
        for task in failed:
            task.result()
        if pending:
            took = f"{len(sending) - len(pending)} of {len(sending)} dead letters"
            raise LogUnavailable(f"{self._topic} took {took} within {PATIENCE_SECONDS:.0f} s")

    def forget(self, partition: int, before: int) -> None:
        """Letters of records before that offset are wanted no more: their batch is committed, or not ours."""
        for place, task in list(self._sending.items()):
            if place[1] == partition and place[2] < before:
                task.cancel()
                del self._sending[place]

    def _task(self, letter: DeadLetter) -> asyncio.Task[None]:
        if letter.place not in self._sending:
            self._sending[letter.place] = asyncio.create_task(self._send(letter))
        return self._sending[letter.place]

    async def _send(self, letter: DeadLetter) -> None:
        async with self._room:
            whole = letter.contents()
            try:
                await self._log.append(self._topic, whole.key, whole.value, whole.headers)
            except RecordRefused as error:
                # The topic takes less than was agreed on. Where the record stands is said all the same.
                logger.warning("%s refused a dead letter, sent without its record: %s", self._topic, error)
                bare = letter.contents(largest_bytes=0)
                await self._log.append(self._topic, bare.key, bare.value, bare.headers)
