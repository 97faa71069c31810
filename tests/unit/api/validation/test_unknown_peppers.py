"""Keys under a pepper that no node was ever started with were issued by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.api.errors import HasherBusy
from tests.pepper_fakes import declare
from tests.unit.api.validation.desk import SECRET, CountingHasher, Desk, a_wrong_secret

pytestmark = pytest.mark.anyio


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

    known = await desk.fallback.find(issued)

    assert known is not None
    assert known.key_id == key.key_id
    assert hasher.checks == 1
    assert desk.metrics.refusals == 0


async def test_a_key_under_a_pepper_that_was_declared_since_passes(desk: Desk) -> None:
    desk.knows(SECRET, pepper_id="2027.n")
    await declare(desk.log, "2027.n")

    assert await desk.recognises(SECRET)


async def test_where_the_log_does_not_say_which_peppers_there_are_the_answer_is_not_now(
    tmp_path: Path, hasher: CountingHasher
) -> None:
    desk = Desk(tmp_path, hasher, is_log_away=True)
    desk.knows(SECRET, pepper_id="2024.z")

    with pytest.raises(HasherBusy):
        await desk.recognises(SECRET)


async def test_a_pepper_that_the_store_has_heard_of_is_known_without_the_log(
    tmp_path: Path, hasher: CountingHasher
) -> None:
    """The node was restarted while Kafka is away: keys go on passing."""
    desk = Desk(tmp_path, hasher, is_log_away=True)
    desk.store.store.put_declared_peppers(frozenset({"2024.z"}))
    desk.knows(SECRET, pepper_id="2024.z")

    assert await desk.recognises(SECRET)
