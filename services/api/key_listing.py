"""A list of keys, page by page: however long it is, it takes little at a time from whoever else waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime

from services.api.errors import ReadModelUnavailable
from services.api.ports import ReadModels
from services.api.read_models import KeyPage, Page

#: Some 100 kB, which Postgres puts together in a few milliseconds.
PAGE_KEYS = 250


class KeyListing:
    """One question, asked in pages. Each is a short query of its own, so that a slow reader holds nothing."""

    def __init__(
        self,
        read_models: ReadModels,
        passed: Mapping[int, int],
        now: datetime,
        *,
        services: Sequence[str] | None,
        active_only: bool,
    ) -> None:
        self._read_models = read_models
        self._passed = passed
        self._now = now
        self._services = services
        self._active_only = active_only

    async def page(self, start: Page | None, limit: int | None = None) -> KeyPage:
        """The keys after that place, as many as are wanted or as are read at once.

        Raises `ReadModelUnavailable`.
        """
        return await self._read_models.list_keys(
            self._passed,
            self._now,
            services=self._services,
            active_only=self._active_only,
            page=start,
            limit=limit or PAGE_KEYS,
        )

    async def chunks(self, first: KeyPage) -> AsyncGenerator[bytes, None]:
        """The whole list from that page on as the pieces of a JSON array.

        Raises `ReadModelUnavailable`, also where the read models were made anew meanwhile: they may not have
        all keys yet, and a list must not look whole when it is not.
        """
        yield b"[" + first.keys
        page = first
        while page.following is not None:
            page = await self.page(page.following)
            if page.generation != first.generation:
                raise ReadModelUnavailable("The read model was made anew, try again")
            if page.keys:
                yield b"," + page.keys
        yield b"]"
