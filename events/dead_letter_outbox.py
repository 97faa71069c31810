"""Dead letters on their way to their topic: each is sent once, however often its batch is tried."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence

from events.dead_letters import DeadLetter
from events.errors import LogUnavailable, RecordRefused
from events.log import EventLog, Position

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
        #: By the partition whose batch they are of; a letter may be about a record of another one.
        self._sending: defaultdict[int, dict[Position, asyncio.Task[None]]] = defaultdict(dict)

    async def append(self, partition: int, letters: Sequence[DeadLetter]) -> None:
        """Return once the log has them all. Raises `LogUnavailable` after 5 s: call it again then.

        `partition`: whose batch they are of.

        What is under way by then is waited for the next time, and not sent again. What the log had no
        answer for is.
        """
        if not letters:
            return
        tasks = self._sending[partition]
        for letter in letters:
            if letter.place not in tasks:
                tasks[letter.place] = asyncio.create_task(self._send(letter))
        sending = [tasks[letter.place] for letter in letters]
        done, pending = await asyncio.wait(
            sending, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_EXCEPTION
        )
        failed = [task for task in done if task.exception() is not None]
        for letter in letters:
            if letter.place in tasks and tasks[letter.place] in failed:
                del tasks[letter.place]
        for task in failed:
            task.result()
        if pending:
            took = f"{len(sending) - len(pending)} of {len(sending)} dead letters"
            raise LogUnavailable(f"{self._topic} took {took} within {PATIENCE_SECONDS:.0f} s")

    def committed(self, partition: int, letters: Sequence[DeadLetter]) -> None:
        """The batch of these letters will not come again."""
        for letter in letters:
            self._sending[partition].pop(letter.place, None)

    def lost(self, partition: int) -> None:
        """The partition is another process's: it sends whatever letters follow from it."""
        for task in self._sending.pop(partition, {}).values():
            task.cancel()

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
