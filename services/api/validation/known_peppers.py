"""Every pepper that a node was ever started with: keys under another one were issued by nobody."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence

from events.codec import decode_total, encode
from events.errors import LogUnavailable, UnreadableRecord, WrongLog
from events.log import EventLog, Record
from events.peppers import ConfiguredPepper, PepperConfigured
from services.api.ports import OpenReader

logger = logging.getLogger(__name__)

READ_SECONDS = 5.0


class KnownPeppers:
    """The peppers of this node, and those that nodes have declared in `keys.peppers`. Holds ids, no secrets.

    The topic is read when the follower starts, and again when a key turns up under a pepper that is not
    known: another node may have been started with it since. All who ask meanwhile share one reading, at most
    one begins every `pause_seconds`, and the same pepper is asked for once in `again_seconds`.
    """

    def __init__(
        self,
        own: Collection[str],
        opened: OpenReader,
        log: EventLog,
        topic: str,
        source: str,
        *,
        pause_seconds: float = 1.0,
        again_seconds: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = frozenset(own)
        self._declared: frozenset[str] = frozenset()
        self._opened = opened
        self._log = log
        self._topic = topic
        self._source = source
        self._pause_seconds = pause_seconds
        self._again_seconds = again_seconds
        self._monotonic = monotonic
        self._read_at = -pause_seconds
        self._reading = asyncio.Lock()
        self._next_reading: asyncio.Task[bool] | None = None
        #: When each pepper that is unknown may be asked for again. All of them are named by keys of the log.
        self._ask_again_at: dict[str, float] = {}
        self._complaint = ""

    def __contains__(self, pepper_id: str) -> bool:
        """Whether it is known without asking."""
        return pepper_id in self._own or pepper_id in self._declared

    def known(self) -> frozenset[str]:
        """All that are known without asking."""
        return self._own | self._declared

    async def start(self) -> None:
        """Read what was declared, and declare what is missing of this node's. Raises `LogUnavailable`.

        Nothing may be issued or accepted before, since other nodes refuse keys under a pepper that is not
        declared. Where the topic does not exist yet, this node's own peppers are all that is known.
        """
        try:
            async with self._reading, asyncio.timeout(READ_SECONDS):
                await self._read_and_declare()
        except TimeoutError:
            raise LogUnavailable(f"{self._topic}: not read in time") from None
        finally:
            self._read_at = self._monotonic()

    async def include(self, pepper_id: str) -> bool:
        """Whether a node was ever started with this pepper. Raises `LogUnavailable` where nobody can tell."""
        if pepper_id in self:
            return True
        if self._monotonic() < self._ask_again_at.get(pepper_id, 0):
            return False
        if self._next_reading is None:
            self._next_reading = asyncio.create_task(self._read_again())
        # Shielded: others wait for the same answer.
        if not await asyncio.shield(self._next_reading):
            raise LogUnavailable(f"{self._topic}: not read")
        if pepper_id in self:
            return True
        self._refuse(pepper_id)
        return False

    async def _read_again(self) -> bool:
        """Whether all that was declared before this reading began is known now."""
        async with self._reading:
            await asyncio.sleep(max(0.0, self._read_at + self._pause_seconds - self._monotonic()))
        self._next_reading = None  # who comes from here on may ask for a pepper that is newer than the answer
        try:
            await self.start()
        except LogUnavailable as error:
            logger.warning("which peppers there are is not known now: %s", error)
            return False
        return True

    async def _read_and_declare(self) -> None:
        try:
            declared = await self._read()
        except WrongLog as error:
            self._complain(
                f"only this node's peppers are known, and keys under any other are refused: {error}; "
                "then start each node again"
            )
            return
        self._declared = frozenset(declared)
        for pepper_id in sorted(self._own - declared):
            await self._log.append(self._topic, pepper_id.encode(), encode(self._declaration(pepper_id)))
            logger.info("declared pepper %s in %s", pepper_id, self._topic)

    async def _read(self) -> set[str]:
        """What the topic holds. Raises `WrongLog` where there is none, or another one."""
        declared: set[str] = set()
        async with self._opened() as reader:
            await reader.begin({})
            ends = await reader.end_offsets()
            while any(reader.positions()[partition] < end for partition, end in ends.items()):
                _learn(declared, await reader.read())
        return declared

    def _declaration(self, pepper_id: str) -> PepperConfigured:
        return PepperConfigured(
            source=self._source,
            subject=pepper_id,
            partitionkey=pepper_id,
            data=ConfiguredPepper(pepper_id=pepper_id),
        )

    def _refuse(self, pepper_id: str) -> None:
        is_new = pepper_id not in self._ask_again_at
        self._ask_again_at[pepper_id] = self._monotonic() + self._again_seconds
        if is_new:
            logger.error(
                "keys under pepper %r are refused: no node was ever started with it. If it is one of yours, "
                "start a node with it, last in KEY_PEPPERS; if its secret is lost, write its id to %s as the "
                "README says. If it is not, find out who else writes to keys.lifecycle",
                pepper_id,
                self._topic,
            )

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            logger.error(what)
            self._complaint = what


def _learn(declared: set[str], records: Sequence[Record]) -> None:
    """Of each record key the newest record counts; one that can't be read declares nothing."""
    for record in records:
        pepper_id = _declared_in(record)
        if pepper_id is not None:
            declared.add(pepper_id)
        elif record.value is None and record.key is not None:
            declared.discard(record.key.decode(errors="replace"))


def _declared_in(record: Record) -> str | None:
    try:
        event = decode_total(record.value)
    except UnreadableRecord:
        return None
    if not isinstance(event, PepperConfigured) or record.key != event.partitionkey.encode():
        return None
    return event.data.pepper_id
