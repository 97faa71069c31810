"""Keys whose pepper is lost or retired: found by their visible prefix, verified by bcrypt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import bcrypt
import pytest

from events.lineage import Key, Lineage, issued_key, park
from events.memory_log import MemoryLog
from events.shown_keys import display_prefix
from services.api.directory import KeyDirectory
from services.api.errors import HasherBusy
from services.api.metrics import Metrics
from services.api.validation.bcrypt_fallback import BcryptFallback
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, Pepper
from services.api.validator import KeyValidator, Question
from services.api.verdict import Verdict
from tests.bcrypt_hashes import BAD
from tests.builders import a_key_created
from tests.fakes import ManualTime, UnsteadyReader
from tests.pepper_fakes import PEPPERS, declare, known_peppers
from tests.unit.api.workers import judge
from tests.window_fakes import a_view_of_windows

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = b"hk_live_AbC" + b"x" * 29


def a_wrong_secret(number: int = 0) -> bytes:
    """One that looks like the right one: same visible prefix."""
    return b"hk_live_AbC%029d" % number


class CountingHasher(Hasher):
    """Counts its checks, and can hold them back."""

    def __init__(self, limit: int = 16) -> None:
        super().__init__(4, limit)
        self.checks = 0
        self.threads: set[str] = set()
        self._may_go_on = threading.Event()
        self._may_go_on.set()

    def hold(self) -> None:
        self._may_go_on.clear()

    def go_on(self) -> None:
        self._may_go_on.set()

    async def check(self, key: bytes, bcrypt_hash: str) -> bool:
        self.checks += 1
        await asyncio.to_thread(self._may_go_on.wait, 5)
        return await super().check(key, bcrypt_hash)


class CountingMetrics(Metrics):
    """Counts what was refused because of a pepper."""

    refusals = 0

    def unknown_pepper(self) -> None:
        self.refusals += 1


class Desk:
    """A validator under today's pepper, and keys of a pepper that is no longer there."""

    def __init__(self, hasher: Hasher, *, is_log_away: bool = False) -> None:
        self.time = ManualTime(NOW)
        self.fingerprints = Fingerprints([Pepper("2026", "a pepper of thirty-two characters")])
        self.directory = KeyDirectory(self.fingerprints.known_ids)
        clock = self.time.clock()
        self.log = MemoryLog()
        reader = UnsteadyReader(self.log.reader(PEPPERS))
        if is_log_away:
            reader.fall_silent()
        self.peppers = known_peppers(self.log, self.fingerprints.known_ids, reader)
        self.metrics = CountingMetrics()
        bcrypt_fallback = BcryptFallback(
            self.directory, self.fingerprints, self.peppers, hasher, clock, self.metrics
        )
        self.validator = KeyValidator(self.directory, self.fingerprints, bcrypt_fallback, a_view_of_windows())

    def knows(self, secret: bytes, **facts: str) -> Key:
        hashed = bcrypt.hashpw(secret, bcrypt.gensalt(4)).decode()
        prefix = display_prefix(secret.decode())
        created = a_key_created(
            **{"pepper_id": "retired", "key_prefix": prefix, "bcrypt_hash": hashed, **facts}
        )
        key = issued_key(created.data, NOW)
        self.now_knows(key)
        return key

    def now_knows(self, key: Key, parked: str | None = None) -> None:
        lineage = Lineage(key.lineage_id, 1, (key,))
        self.directory.put(lineage if parked is None else park(lineage, parked).lineage)

    async def recognises(self, secret: bytes) -> bool:
        return await self.validator.find_by_bcrypt(secret) is not None


@pytest.fixture
def hasher() -> Iterator[CountingHasher]:
    hasher = CountingHasher()
    yield hasher
    hasher.go_on()
    hasher.close()


@pytest.fixture
async def desk(hasher: CountingHasher) -> Desk:
    return await a_desk(hasher)


async def a_desk(hasher: Hasher) -> Desk:
    """One whose node has started after another one with the pepper that is no longer there."""
    desk = Desk(hasher)
    await declare(desk.log, "retired")
    await desk.peppers.start()
    return desk


async def test_a_key_is_recognised_once_and_found_by_its_fingerprint_ever_after(
    desk: Desk, hasher: CountingHasher
) -> None:
    key = desk.knows(SECRET)
    assert desk.validator.find(SECRET) is None

    known = await desk.validator.find_by_bcrypt(SECRET)

    assert known is not None
    assert known.key_id == key.key_id
    assert desk.validator.find(SECRET) is known
    assert judge(desk.validator, known, Question(), NOW.timestamp()) is Verdict.VALID
    assert hasher.checks == 1


async def test_a_wrong_secret_is_not_recognised(desk: Desk) -> None:
    desk.knows(SECRET)

    assert not await desk.recognises(a_wrong_secret())
    assert desk.validator.find(a_wrong_secret()) is None


async def test_the_right_one_of_several_look_alikes_is_recognised(desk: Desk) -> None:
    desk.knows(a_wrong_secret(1))
    key = desk.knows(SECRET)

    known = await desk.validator.find_by_bcrypt(SECRET)

    assert known is not None
    assert known.key_id == key.key_id


async def test_garbage_costs_no_bcrypt(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)

    for presented in (
        b"",
        b"garbage",
        b"hk_live_AbC",
        b"hk_live_XyZ" + b"x" * 29,
        b"hk_live_AbC" + b"x" * 99,
    ):
        assert not await desk.recognises(presented)

    assert hasher.checks == 0


async def test_a_dead_key_costs_no_bcrypt_however_often_it_is_presented(
    desk: Desk, hasher: CountingHasher
) -> None:
    key = desk.knows(SECRET)
    desk.now_knows(key._replace(revoked_at=NOW))

    assert [await desk.recognises(SECRET) for _ in range(10)] == [False] * 10

    desk.now_knows(key, parked="gap")
    assert not await desk.recognises(SECRET)
    assert hasher.checks == 0


async def test_a_key_in_grace_is_recognised(desk: Desk) -> None:
    key = desk.knows(SECRET)
    desk.now_knows(key._replace(superseded_by="new", valid_until=NOW.replace(hour=13)))

    assert await desk.recognises(SECRET)


async def test_the_same_secret_is_checked_once_at_a_time(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)

    answers = await asyncio.gather(*(desk.recognises(SECRET) for _ in range(50)))

    assert answers == [True] * 50
    assert hasher.checks == 1


async def test_a_caller_that_hangs_up_cancels_nobody_elses_check(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)
    hasher.hold()
    hangs_up = asyncio.create_task(desk.recognises(SECRET))
    waits = asyncio.create_task(desk.recognises(SECRET))
    await asyncio.sleep(0)

    hangs_up.cancel()
    await asyncio.wait([hangs_up])
    hasher.go_on()

    assert await waits
    assert hasher.checks == 1


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


async def test_a_full_pool_says_not_now_and_never_no() -> None:
    hasher = CountingHasher(limit=0)
    desk = await a_desk(hasher)
    desk.knows(SECRET)
    try:
        for _ in range(10):
            with pytest.raises(HasherBusy):
                await desk.recognises(SECRET)
    finally:
        hasher.close()


async def test_a_slow_check_holds_up_nobody_else(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET)
    hasher.hold()
    slow = asyncio.create_task(desk.recognises(SECRET))
    await asyncio.sleep(0)

    assert desk.validator.find(b"hk_live_" + b"n" * 32) is None
    assert not await desk.recognises(b"hk_live_" + b"n" * 32)
    assert not slow.done()

    hasher.go_on()
    assert await slow


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_hash_that_bcrypt_refuses_hides_no_other_key_that_looks_alike(
    desk: Desk, hasher: CountingHasher, bad: str
) -> None:
    """Such a hash is in no event; a row that an older projector made of one may have it."""
    before = desk.knows(a_wrong_secret(1))
    desk.now_knows(before._replace(bcrypt_hash=bad))
    key = desk.knows(SECRET)
    after = desk.knows(a_wrong_secret(2))
    desk.now_knows(after._replace(bcrypt_hash=bad))

    known = await desk.validator.find_by_bcrypt(SECRET)

    assert known is not None
    assert known.key_id == key.key_id
    assert not await desk.recognises(a_wrong_secret(1))
    assert not await desk.recognises(a_wrong_secret(2))
    assert hasher.checks == 1


async def test_a_key_under_a_pepper_that_no_node_was_started_with_is_refused(
    desk: Desk, hasher: CountingHasher, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may write to keys.lifecycle can make up a secret and its hash, but no declaration."""
    desk.knows(SECRET, pepper_id="forged")

    for _ in range(20):
        assert not await desk.recognises(SECRET)

    assert hasher.checks == 0
    assert desk.metrics.refusals == 20
    assert sum("'forged'" in record.getMessage() for record in caplog.records) == 1


async def test_a_forged_key_hides_no_other_key_that_looks_alike(desk: Desk, hasher: CountingHasher) -> None:
    desk.knows(SECRET, pepper_id="forged")
    issued = a_wrong_secret(1)
    key = desk.knows(issued)

    known = await desk.validator.find_by_bcrypt(issued)

    assert known is not None
    assert known.key_id == key.key_id
    assert hasher.checks == 1
    assert desk.metrics.refusals == 0


async def test_a_key_under_a_pepper_that_was_declared_since_passes(desk: Desk) -> None:
    desk.knows(SECRET, pepper_id="2027.n")
    await declare(desk.log, "2027.n")

    assert await desk.recognises(SECRET)


async def test_where_the_log_does_not_say_which_peppers_there_are_the_answer_is_not_now() -> None:
    hasher = CountingHasher()
    desk = Desk(hasher, is_log_away=True)
    desk.knows(SECRET, pepper_id="2024.z")
    try:
        with pytest.raises(HasherBusy):
            await desk.recognises(SECRET)
    finally:
        hasher.close()
