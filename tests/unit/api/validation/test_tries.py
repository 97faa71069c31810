"""bcrypt is slow on purpose: how much of it anybody can make the api do."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import bcrypt
import pytest

from services.api.errors import HasherBusy
from services.api.validation import bcrypt_fallback
from services.api.validation.bcrypt_fallback import ADDRESS_TRIES, AT_ONCE, TRIES_SECONDS
from services.api.validation.hashing import Hasher
from tests.unit.api.validation.desk import SECRET, CountingHasher, Desk, a_desk, a_wrong_secret
from tests.unit.api.workers import eventually

pytestmark = pytest.mark.anyio


async def test_a_prefix_gets_five_failed_tries_a_minute(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)
    for number in range(5):
        assert not await desk.recognises(a_wrong_secret(number))

    for presented in (a_wrong_secret(5), SECRET):
        with pytest.raises(HasherBusy):
            await desk.recognises(presented)
    assert hasher.checks == 5

    desk.time.pass_by(59)
    with pytest.raises(HasherBusy):
        await desk.recognises(SECRET)
    desk.time.pass_by(1)
    assert await desk.recognises(SECRET)


async def test_many_tries_at_once_are_many_tries(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)

    answers = await asyncio.gather(
        *(desk.recognises(a_wrong_secret(number)) for number in range(12)), return_exceptions=True
    )

    assert answers[:5] == [False] * 5
    assert all(isinstance(answer, HasherBusy) for answer in answers[5:])
    assert hasher.checks == 5


async def test_failed_tries_of_one_prefix_do_not_count_for_another(desk: Desk) -> None:
    desk.knows(SECRET)
    other = b"hk_live_XyZ" + b"y" * 29
    desk.knows(other)
    for number in range(5):
        await desk.recognises(a_wrong_secret(number))

    assert await desk.recognises(other)


async def test_successes_never_use_up_the_tries(desk: Desk) -> None:
    secrets = [a_wrong_secret(number) for number in range(8)]
    for secret in secrets:
        desk.knows(secret)

    assert [await desk.recognises(secret) for secret in secrets] == [True] * 8


async def test_more_checks_than_may_wait_are_told_not_now_and_never_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    checkpw = bcrypt.checkpw

    def held(*arguments: bytes) -> bool:
        may_end.wait(5)
        return checkpw(*arguments)

    monkeypatch.setattr(bcrypt, "checkpw", held)
    hasher = Hasher(4, 0)
    desk = await a_desk(tmp_path, hasher)
    other = b"hk_live_XyZ" + b"y" * 29
    desk.knows(SECRET)
    desk.knows(other)
    first = asyncio.create_task(desk.recognises(other))
    await asyncio.sleep(0.01)

    for _ in range(10):
        with pytest.raises(HasherBusy):
            await desk.recognises(SECRET)

    may_end.set()
    assert await first
    assert await desk.recognises(SECRET)
    hasher.close()


@pytest.mark.parametrize("who", ["the prefix", "the address"])
async def test_who_has_failed_lately_does_not_wait_where_others_do(
    desk: Desk, hasher: CountingHasher, who: str
) -> None:
    """A place in the pool is kept for what looks like no attack."""
    desk.knows(SECRET)
    victim, stranger = "203.0.113.7", "198.51.100.1"
    if who == "the prefix":
        await desk.recognises(a_wrong_secret(), stranger)
    else:
        for prefix in range(ADDRESS_TRIES):
            desk.knows(b"hk_live_%03d" % prefix + b"x" * 29)
            await desk.recognises(b"hk_live_%03d" % prefix + b"y" * 29, victim)
    assert hasher.asked[0][1]

    await desk.recognises(a_wrong_secret(1), victim)
    assert hasher.asked[-1] == (victim, False)

    desk.time.pass_by(TRIES_SECONDS)
    assert await desk.recognises(SECRET, victim)
    assert hasher.asked[-1] == (victim, True)


async def test_an_address_is_refused_nothing_however_often_it_has_failed(
    desk: Desk, hasher: CountingHasher
) -> None:
    """It may be that of a gateway, with a thousand callers behind it."""
    gateway = "203.0.113.7"
    for prefix in range(3 * ADDRESS_TRIES):
        desk.knows(b"hk_live_%03d" % prefix + b"x" * 29)
        assert not await desk.recognises(b"hk_live_%03d" % prefix + b"y" * 29, gateway)

    assert await desk.recognises(b"hk_live_007" + b"x" * 29, "198.51.100.1") is True
    assert await desk.recognises(b"hk_live_008" + b"x" * 29, gateway) is True
    assert hasher.asked[ADDRESS_TRIES - 1] == (gateway, True)
    assert hasher.asked[ADDRESS_TRIES] == (gateway, False)


async def test_what_one_address_tries_at_once_waits_behind_others(desk: Desk, hasher: CountingHasher) -> None:
    victim, other = "203.0.113.7", "198.51.100.1"
    secrets = [b"hk_live_%03d" % prefix + b"x" * 29 for prefix in range(AT_ONCE + 2)]
    for secret in secrets:
        desk.knows(secret)
    hasher.hold()

    trying = [asyncio.create_task(desk.recognises(secret, victim)) for secret in secrets[:-1]]
    await eventually(lambda: len(hasher.asked) == AT_ONCE + 1)
    trying.append(asyncio.create_task(desk.recognises(secrets[-1], other)))
    await eventually(lambda: len(hasher.asked) == AT_ONCE + 2)
    hasher.go_on()

    assert await asyncio.gather(*trying) == [True] * (AT_ONCE + 2)
    assert hasher.asked == [(victim, True)] * AT_ONCE + [(victim, False), (other, True)]
    desk.knows(SECRET)
    assert await desk.recognises(SECRET, victim)
    assert hasher.asked[-1] == (victim, True), "nothing of it is under way any more"


async def test_a_secret_that_was_turned_away_is_no_guess_when_it_comes_again(
    desk: Desk, hasher: CountingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever guesses does not come back with the same one; whoever has a real key does."""
    desk.knows(SECRET)
    await desk.recognises(a_wrong_secret())

    async def busy(*_: object, **__: object) -> bool:
        raise HasherBusy("too many")

    with monkeypatch.context() as patched:
        patched.setattr(hasher, "check", busy)
        with pytest.raises(HasherBusy):
            await desk.recognises(SECRET)

    assert await desk.recognises(SECRET)
    assert hasher.asked == [("", True), ("", True)]


async def test_nobody_waits_for_longer_than_some_seconds(
    desk: Desk, hasher: CountingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bcrypt_fallback, "PATIENCE_SECONDS", 0.02)
    desk.knows(SECRET)
    hasher.hold()

    with pytest.raises(HasherBusy):
        await desk.recognises(SECRET)

    monkeypatch.undo()
    hasher.go_on()
    assert await desk.recognises(SECRET)
