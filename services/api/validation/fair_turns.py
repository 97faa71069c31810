"""Callers take turns: one with a thousand requests waits behind itself, not before all others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque


class NoTurn(Exception):
    """Too many wait already."""


class FairTurns:
    """A semaphore of so many `places` that serves waiting callers round robin, each in its own order.

    At most `limit` wait. Whoever comes then takes the place of the last one of the caller with the most
    waiting, unless that is this caller: the loser is told `NoTurn`. For one event loop.
    """

    def __init__(self, places: int, limit: int) -> None:
        self._free = places
        self._limit = limit
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def before(self, caller: str) -> int:
        """How many turns come before one that this caller would wait for from now on."""
        own = len(self._waiting.get(caller, ()))
        return own + sum(min(len(queue), own + 1) for who, queue in self._waiting.items() if who != caller)

    async def take(self, caller: str) -> None:
        """Wait for a turn, to be given back. Whoever is cancelled here leaves no trace. Raises `NoTurn`."""
        if self._free:  # then nobody waits
            self._free -= 1
            return
        if len(self) >= self._limit:
            self._make_room(caller)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._remove(caller, turn)
            elif turn.exception() is None:  # the turn has come at the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next caller have the turn."""
        while self._waiting:
            caller, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[caller] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, caller: str) -> None:
        longest = max(self._waiting, key=lambda who: len(self._waiting[who]), default=caller)
        if len(self._waiting.get(longest, ())) <= len(self._waiting.get(caller, ())) + 1:
            raise NoTurn
        last = self._waiting[longest][-1]
        self._remove(longest, last)
        if not last.done():
            last.set_exception(NoTurn())

    def _remove(self, caller: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[caller]
