"""Activities of a process that live and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def run_together(*activities: Coroutine[Any, Any, None]) -> None:
    """Run them until the first one ends or raises; the others are cancelled, then its error is raised.

    Unlike a task group it raises that very error, so that a caller can tell what has ended the process.
    """
    await _run(activities, asyncio.FIRST_COMPLETED)


async def run_all(*activities: Coroutine[Any, Any, None]) -> None:
    """Run them until all have ended; the first that raises ends the others, and its very error is raised."""
    await _run(activities, asyncio.FIRST_EXCEPTION)


async def until(event: asyncio.Event) -> None:
    """An activity that ends when the event is set, and with it those that it runs together with."""
    await event.wait()


async def _run(activities: Iterable[Coroutine[Any, Any, None]], return_when: str) -> None:
    tasks = [asyncio.create_task(activity) for activity in activities]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=return_when)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in ended:
            task.result()


class ActivityGroup:
    """Activities that begin one after another; the first that raises ends the others."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, activity: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(activity)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping` is set and all have ended by themselves. Raises the very error of one."""
        try:
            await run_together(until(stopping), self._failure())
            while self._tasks:
                await asyncio.wait({*self._tasks}, return_when=asyncio.FIRST_EXCEPTION)
                if self._failed.done():
                    break
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            # Looked at even when we are cancelled, or asyncio would complain that nobody has.
            error = self._failed.exception() if self._failed.done() else None
        if error is not None:
            raise error

    async def _failure(self) -> None:
        await asyncio.shield(self._failed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._failed.done():
            return
        if (error := task.exception()) is not None:
            self._failed.set_exception(error)
