"""The numbers of one lineage, or of one of its keys, in one window.

A process may be killed between any two writes. So the number that makes others valid is written last, and
what has to be published is marked before it is counted.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

#: Numbers of every slot: what it is (written last), and the id of the lineage or key as two numbers.
KIND, HIGH, LOW = range(3)
#: Numbers of a lineage: what this node has admitted, what other nodes have, what was reported, the limit of
#: the key that was admitted last, how much of `OWN` the log has, that key's id and when it was admitted (ms
#: since 1970; 0 while the id is being written), and the place of its latest key slot (0: none).
OWN, OTHERS, REPORTED, LIMIT, PUBLISHED, KEY_HIGH, KEY_LOW, USED_MS, KEYS = range(3, 12)
#: Of a key that is no longer the one admitted last: when it was, and the place of the lineage's next one.
KEY_USED_MS, KEY_NEXT = 3, 4
WIDTH = 12

FREE, LINEAGE, KEY = range(3)
#: The state of a lineage's count: all of it is in the log, or some is not, or some should be there by now.
WRITTEN, UNPUBLISHED, DUE = range(3)

Mark = tuple[int, int]


class Numbers(Protocol):
    """Part of a table, in memory."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, number: int, /) -> None: ...


class Slot:
    """Where the numbers stand, and under which lock they change. It never moves within its window."""

    __slots__ = ("numbers", "place", "state", "stripe")

    def __init__(self, numbers: Numbers, state: Numbers, stripe: int, place: int) -> None:
        self.numbers = numbers
        #: One byte, apart from the numbers: all that are due are found by a search for that byte.
        self.state = state
        self.stripe = stripe
        self.place = place

    def is_worth_publishing(self) -> bool:
        """The first admission at once, then by hundredths of what is left: the nearer the end, the sooner."""
        numbers = self.numbers
        return is_worth_publishing(
            numbers[OWN], numbers[PUBLISHED], numbers[LIMIT], numbers[OTHERS], numbers[REPORTED]
        )


def is_worth_publishing(own: int, published: int, limit: int, others: int, reported: int) -> bool:
    unpublished = own - published
    if unpublished <= 0:
        return False
    used = own + others
    return published == 0 or unpublished >= (limit - (used if used > reported else reported)) // 100


def mark_of(uuid_text: str) -> Mark:
    """The id of a lineage or key, as a slot has it."""
    number = int(uuid_text.replace("-", ""), 16)
    return number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF


def text_of(mark: Mark) -> str:
    """The reverse of `mark_of`."""
    return str(UUID(int=mark[0] << 64 | mark[1]))
