"""Gives memory back to the system after many connections have ended.

The C library keeps what was freed for later use. After ten thousand callers that only held a connection,
nobody needs it for a long time.
"""

from __future__ import annotations

import asyncio
import ctypes
import os

CHECK_SECONDS = 5.0
#: So many descriptors fewer than there were. Looking for free pages holds up whoever wants memory meanwhile
#: by some milliseconds: it has to be worth it.
WORTH_IT = 1000

DESCRIPTORS = "/proc/self/fd"


async def give_memory_back() -> None:
    """Look every few seconds, for ever. Does nothing where the system tells no descriptors."""
    most = 0
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            held = await asyncio.to_thread(lambda: len(os.listdir(DESCRIPTORS)))  # noqa: PTH208
        except OSError:
            continue
        if most - held >= WORTH_IT:
            await asyncio.to_thread(_trim)
            most = held
        most = max(most, held)


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)
