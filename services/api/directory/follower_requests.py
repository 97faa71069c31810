"""What workers ask of their node's follower, over a socket in the node's folder: one line there, one back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

logger = logging.getLogger(__name__)

FILE = "follower.socket"
#: For the answer to a question that the log may have to be asked for.
ANSWER_SECONDS = 7.0
#: So many questions wait to be taken, while a batch is written: one more would be told that nobody is there.
BACKLOG = 1024

Handlers = Mapping[str, Callable[..., Awaitable[object]]]


class FollowerRequests:
    """A worker's side. Every answer is None where the follower is away or does not answer in time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def is_caught_up(self) -> bool | None:
        """Whether all that the log held when asked is in the store now."""
        return await self._ask("is_caught_up")  # type: ignore[return-value]

    async def is_pepper_known(self, pepper_id: str) -> bool | None:
        """Whether any node was ever started with this pepper."""
        return await self._ask("is_pepper_known", pepper_id=pepper_id)  # type: ignore[return-value]

    async def learn(self, key_id: str, fingerprint: bytes) -> bool | None:
        """Tell what bcrypt has found out: the fingerprint of a key under the node's newest pepper."""
        return await self._ask("learn", key_id=key_id, fingerprint=fingerprint.hex())  # type: ignore[return-value]

    async def _ask(self, question: str, **arguments: str) -> object:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                with short_path(self._folder / FILE) as path:
                    reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(orjson.dumps({"question": question, "arguments": arguments}) + b"\n")
                    answer: object = orjson.loads(await reader.readline())
                    return answer
                finally:
                    writer.close()
        except (TimeoutError, OSError, orjson.JSONDecodeError) as error:
            logger.warning("the follower of this node does not answer: %r", error)
            return None


@asynccontextmanager
async def answering(folder: Path, handlers: Handlers) -> AsyncIterator[None]:
    """The follower's side: each question has the name of its handler."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                asked: dict[str, Any] = orjson.loads(await reader.readline())
                writer.write(orjson.dumps(await handlers[asked["question"]](**asked["arguments"])) + b"\n")
                await writer.drain()
            except Exception:  # one question that fails is no reason to follow no more
                logger.exception("a worker's question could not be answered")
            finally:
                writer.close()

    (folder / FILE).unlink(missing_ok=True)
    with short_path(folder / FILE) as path:
        server = await asyncio.start_unix_server(answer, path, backlog=BACKLOG)
    (folder / FILE).chmod(0o600)
    async with server:
        yield


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path, or another one of the same file: a socket's address has room for some hundred bytes."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
