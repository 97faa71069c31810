"""A JSON answer that is made while it is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Send

from services.api.errors import ApiError

logger = logging.getLogger(__name__)

#: How long a caller may take to read what one piece has filled.
READ_SECONDS = 30.0


class JsonStream(StreamingResponse):
    """Sends the pieces as they come, no faster than they are read.

    Where a piece can't be made, or is not read in time, the connection breaks off before the end of the body:
    no client takes a part for the whole. Starlette cancels the work when the caller hangs up.
    """

    media_type = "application/json"

    def __init__(self, pieces: AsyncGenerator[bytes, None], read_seconds: float = READ_SECONDS) -> None:
        super().__init__(pieces)
        self._pieces = pieces
        self._read_seconds = read_seconds

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    async with asyncio.timeout(self._read_seconds):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            logger.warning("an answer was broken off: its reader took longer than %s s", self._read_seconds)
        except ApiError as error:
            logger.warning("an answer was broken off: %s", error)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
