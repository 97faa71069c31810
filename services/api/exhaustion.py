"""Running out of descriptors, memory, disk or threads. It passes, and a worker outlives it."""

from __future__ import annotations

import errno
from collections.abc import Iterator

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT})


def is_exhaustion(error: BaseException) -> bool:
    """Whether this error, or one that led to it, says that the system has no more of something now."""
    return any(map(_says_so, _causes(error)))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, RuntimeError):
        return str(error) == "can't start new thread"
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, the errors of a group, and what each was raised from."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
