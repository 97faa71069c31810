"""A list of any length is made and sent piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from services.api import key_listing
from services.api.errors import ReadModelUnavailable
from services.api.http.json_stream import JsonStream
from services.api.key_listing import KeyListing
from services.api.read_models import KeyPage, Page
from tests.unit.api.callers import KEYS, created
from tests.unit.api.http.served import Served
from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
START = Page(NOW, "a key")


class Pages:
    """Read models that have these pages, and fail or are made anew where they are told to."""

    def __init__(self, *pages: KeyPage | Exception) -> None:
        self._pages = list(pages)
        self.asked: list[Page | None] = []

    async def list_keys(self, *_: Any, page: Page | None, **__: Any) -> KeyPage:
        self.asked.append(page)
        found = self._pages.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


async def listed(*pages: KeyPage | Exception) -> bytes:
    listing = KeyListing(Pages(*pages), {}, NOW, services=None, active_only=False)  # type: ignore[arg-type]
    first = await listing.page(None)
    return b"".join([chunk async for chunk in listing.chunks(first)])


async def test_pages_are_one_array() -> None:
    assert await listed(KeyPage(b"1,2", START), KeyPage(b"3", START), KeyPage(b"", None)) == b"[1,2,3]"
    assert await listed(KeyPage(b"", None)) == b"[]"


@pytest.mark.parametrize(
    "second", [ReadModelUnavailable("away"), KeyPage(b"2", None, generation=7)], ids=["away", "made anew"]
)
async def test_a_list_that_can_t_be_finished_does_not_look_whole(second: KeyPage | Exception) -> None:
    with pytest.raises(ReadModelUnavailable):
        await listed(KeyPage(b"1", START), second)


async def test_the_route_answers_the_same_in_one_piece_and_in_many(
    api: Surroundings, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await created(admin)
    whole = await admin.get(KEYS)
    assert api.read_models.pages_asked == 1

    monkeypatch.setattr(key_listing, "PAGE_KEYS", 2)
    in_pieces = await admin.get(KEYS)
    assert api.read_models.pages_asked == 1 + 3
    assert in_pieces.content == whole.content
    assert in_pieces.headers["content-type"] == whole.headers["content-type"] == "application/json"
    assert (await admin.get(KEYS, params={"limit": 3})).json() == whole.json()[:3]


GET = b"GET / HTTP/1.1\r\nHost: auth.test\r\n\r\n"


class Endless:
    """Pieces for as long as somebody wants them."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.made = 0
        self.is_ended = False
        self._failure = failure

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.made += 1
                yield b"x" * 1000
                if self._failure is not None and self.made == 3:
                    raise self._failure
                await asyncio.sleep(0)
        finally:
            self.is_ended = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await JsonStream(self.pieces(), read_seconds=0.05)(scope, receive, send)


async def test_whoever_hangs_up_ends_the_work() -> None:
    endless = Endless()
    served = Served(endless)
    served.protocol.data_received(GET)
    while endless.made < 10:
        await asyncio.sleep(0)
    served.protocol.connection_lost(None)
    await served.ask()
    assert endless.is_ended


async def test_nothing_is_made_for_a_reader_that_does_not_read() -> None:
    endless = Endless()
    served = Served(endless)
    served.protocol.data_received(GET)
    while not endless.made:
        await asyncio.sleep(0)
    served.protocol.pause_writing()
    made = endless.made
    await served.ask()
    assert endless.made <= made + 1
    assert endless.is_ended
    assert not served.wire.written.endswith(b"0\r\n\r\n"), "a part must not look whole"
    assert served.wire.is_closing()


async def test_a_failure_breaks_the_answer_off(caplog: pytest.LogCaptureFixture) -> None:
    endless = Endless(ReadModelUnavailable("away"))
    served = Served(endless)
    await served.ask(GET)
    assert served.wire.statuses == [200]
    assert not served.wire.written.endswith(b"0\r\n\r\n")
    assert served.wire.is_closing()
    assert "broken off: away" in caplog.text


async def test_an_unforeseen_failure_does_too() -> None:
    endless = Endless(ValueError())
    served = Served(endless)
    await served.ask(GET)
    assert not served.wire.written.endswith(b"0\r\n\r\n")
    assert served.wire.is_closing()
