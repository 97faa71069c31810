"""What workers ask of their node's follower, over a socket in the node's folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.api.directory import follower_requests
from services.api.directory.follower_requests import FILE, FollowerRequests, Handlers, answering
from tests.builders import fresh_id

pytestmark = pytest.mark.anyio


class Asked:
    """A follower that answers what the test says, and remembers what it was asked."""

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    @property
    def handlers(self) -> Handlers:
        return {
            "is_caught_up": self._is_caught_up,
            "is_pepper_known": self._is_pepper_known,
            "learn": self._learn,
        }

    async def _is_caught_up(self) -> object:
        self.asked.append(())
        return self._answer()

    async def _is_pepper_known(self, pepper_id: str) -> object:
        self.asked.append((pepper_id,))
        return self._answer()

    async def _learn(self, key_id: str, fingerprint: str) -> object:
        self.asked.append((key_id, fingerprint))
        return self._answer()

    def _answer(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [True, False, None])
async def test_every_question_gets_its_answer(tmp_path: Path, answer: bool | None) -> None:
    follower, requests, key_id = Asked(answer), FollowerRequests(tmp_path), fresh_id()
    async with answering(tmp_path, follower.handlers):
        assert await requests.is_caught_up() is answer
        assert await requests.is_pepper_known("2027.ü\n") is answer
        assert await requests.learn(key_id, b"\xab" * 32) is answer

    assert follower.asked == [(), ("2027.ü\n",), (key_id, "ab" * 32)]


async def test_nobody_else_on_the_machine_may_ask(tmp_path: Path) -> None:
    async with answering(tmp_path, Asked().handlers):
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_many_workers_ask_at_once(tmp_path: Path) -> None:
    follower = Asked()
    async with answering(tmp_path, follower.handlers):
        answers = await asyncio.gather(*(FollowerRequests(tmp_path).is_caught_up() for _ in range(200)))

    assert answers == [True] * 200


async def test_a_follower_that_is_away_answers_nothing_and_one_that_comes_back_does(tmp_path: Path) -> None:
    requests = FollowerRequests(tmp_path)
    assert await requests.is_caught_up() is None

    async with answering(tmp_path, Asked().handlers):
        assert await requests.is_caught_up() is True
    assert await requests.is_caught_up() is None

    async with answering(tmp_path, Asked().handlers):
        assert await requests.is_caught_up() is True


async def test_the_socket_of_a_follower_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"")

    async with answering(tmp_path, Asked().handlers):
        assert await FollowerRequests(tmp_path).is_caught_up() is True


async def test_a_follower_that_does_not_answer_in_time_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_requests, "ANSWER_SECONDS", 0.05)
    is_asked = asyncio.Event()

    async def is_caught_up() -> None:
        is_asked.set()
        await asyncio.Event().wait()

    async with answering(tmp_path, {"is_caught_up": is_caught_up}):
        assert await FollowerRequests(tmp_path).is_caught_up() is None
    assert is_asked.is_set()


async def test_a_question_that_fails_is_logged_and_the_next_one_is_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follower, requests = Asked(ValueError("what went wrong")), FollowerRequests(tmp_path)
    async with answering(tmp_path, follower.handlers):
        assert await requests.learn(fresh_id(), b"f" * 32) is None
        assert await requests._ask("no question of ours") is None
        follower.answer = True
        assert await requests.is_caught_up() is True
    assert "what went wrong" in caplog.text


async def test_whoever_hangs_up_or_talks_nonsense_ends_nothing(tmp_path: Path) -> None:
    async with answering(tmp_path, Asked().handlers):
        for said in (b"", b"no json\n", b"[]\n", b'{"question": "learn", "arguments": {"x": 1}}\n'):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / FILE))
            writer.write(said)
            writer.close()
            await writer.wait_closed()

        assert await FollowerRequests(tmp_path).is_caught_up() is True


async def test_the_folder_may_have_a_long_path(tmp_path: Path) -> None:
    """A socket's address has room for some hundred bytes."""
    folder = tmp_path / ("a" * 100) / ("ü" * 60)
    folder.mkdir(parents=True)

    async with answering(folder, Asked().handlers):
        assert await FollowerRequests(folder).is_caught_up() is True
        assert [path.name for path in folder.iterdir()] == [FILE]
