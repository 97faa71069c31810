"""A refused use that is appended again counts once, as of its original append; what only says so does not."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from events.keys import KeyCreated
from events.replays import REPLAY_HEADER, replay_headers
from tests.builders import StoredRecord, a_key_created, some_usage
from tests.integration.projector.counting import Counting
from tests.usage_records import usage_record

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
REQUESTS = "SELECT coalesce(sum(requests), 0)::int FROM projector.usage_hour"
REFUSED = "SELECT count(*)::int FROM projector.usage_refused"


@pytest.fixture
def key() -> KeyCreated:
    return a_key_created()


@pytest.fixture
async def counting(database_url: str) -> Counting:
    counting = Counting(database_url)
    await counting.begin_anew()
    return counting


def a_use(key: KeyCreated, offset: int = 7, **changes: object) -> StoredRecord:
    """Of 34 days before its append, so that a later append would be too late."""
    use = some_usage(**{"key_id": key.subject, "time": NOON - 34 * DAY, **changes})
    return usage_record(use, NOON, offset=offset)


def replayed(record: StoredRecord, offset: int, after: timedelta = 60 * DAY) -> StoredRecord:
    return appended(dataclasses.replace(record, headers=replay_headers(record)), offset, after)


def appended(record: StoredRecord, offset: int, after: timedelta) -> StoredRecord:
    timestamp = record.timestamp + after // timedelta(milliseconds=1)
    return dataclasses.replace(record, offset=offset, timestamp=timestamp)


async def test_a_replay_counts_as_of_its_original_append_and_once(
    counting: Counting, key: KeyCreated
) -> None:
    use = a_use(key)
    (letter,) = await counting.apply([use])
    assert (letter.reason, letter.record.offset) == ("unknown key", 7)
    await counting.create(key)
    both = [replayed(use, 20), replayed(use, 21)]
    assert await counting.apply(both) == []
    assert await counting.value(REQUESTS) == 1
    for offset in (22, 23):
        assert await counting.apply([replayed(use, offset)]) == []
    assert (await counting.value(REQUESTS), await counting.value(REFUSED)) == (1, 0)


async def test_what_the_emitter_has_sent_again_meanwhile_counts_and_the_replay_does_not(
    counting: Counting, key: KeyCreated
) -> None:
    """However long ago that was: long after identities are forgotten, too."""
    use = a_use(key)
    await counting.apply([use])
    await counting.create(key)
    assert await counting.apply([appended(use, 8, timedelta(hours=1))]) == []
    await counting.drop_every_identity()
    assert await counting.apply([replayed(use, 20)]) == []
    assert await counting.value(REQUESTS) == 1


async def test_replay_and_resend_at_once_in_two_partitions_count_once(
    counting: Counting, key: KeyCreated
) -> None:
    """The emitter's producer has another partitioner than before."""
    uses = [a_use(key, offset) for offset in range(20)]
    await counting.apply(uses)
    await counting.create(key)
    resent = [
        dataclasses.replace(appended(use, use.offset, timedelta(minutes=1)), partition=5) for use in uses
    ]
    replays = [replayed(use, 100 + use.offset) for use in uses]
    await asyncio.gather(counting.apply(resent), counting.apply(replays))
    assert (await counting.value(REQUESTS), await counting.value(REFUSED)) == (20, 0)


async def test_a_rebuild_counts_the_original_and_not_its_replay(counting: Counting, key: KeyCreated) -> None:
    use, other = a_use(key), a_use(key, offset=8)
    await counting.apply([use, other])
    await counting.create(key)
    log = [use, other, replayed(use, 20), replayed(other, 21)]
    await counting.apply(log[2:])
    live = await counting.rows()
    await counting.begin_anew(key)
    assert await counting.apply(log) == []
    assert await counting.rows() == live
    assert await counting.value(REQUESTS) == 2


async def test_a_replay_of_a_key_that_is_unknown_still_is_refused_again_in_its_old_place(
    counting: Counting, key: KeyCreated
) -> None:
    use = a_use(key)
    await counting.apply([use])
    (letter,) = await counting.apply([replayed(use, 20)])
    assert (letter.reason, letter.record.offset, letter.record.timestamp) == ("unknown key", 7, use.timestamp)
    await counting.create(key)
    assert await counting.apply([replayed(use, 21)]) == []
    assert await counting.value(REQUESTS) == 1


def another_content(use: StoredRecord, key: KeyCreated) -> StoredRecord:
    return dataclasses.replace(a_use(key, predictions_count=10**6), headers=replay_headers(use))


def another_place(use: StoredRecord, key: KeyCreated) -> StoredRecord:
    return dataclasses.replace(use, headers=((REPLAY_HEADER, b"keys.usage/0@6"),))


def another_partition(use: StoredRecord, key: KeyCreated) -> StoredRecord:
    return dataclasses.replace(use, partition=1, headers=replay_headers(use))


def another_key(use: StoredRecord, key: KeyCreated) -> StoredRecord:
    return dataclasses.replace(use, key=b"another", headers=replay_headers(use))


@pytest.mark.parametrize("forge", [another_content, another_place, another_partition, another_key])
async def test_a_replay_that_is_forged_lets_nothing_count_that_is_too_old(
    counting: Counting, key: KeyCreated, forge: Callable[[StoredRecord, KeyCreated], StoredRecord]
) -> None:
    use = a_use(key)
    await counting.apply([use])
    await counting.create(key)
    await counting.apply([appended(forge(use, key), 20, 60 * DAY)])
    assert (await counting.value(REQUESTS), await counting.value(REFUSED)) == (0, 1)


async def test_a_use_that_has_counted_is_not_counted_again_by_a_replay(
    counting: Counting, key: KeyCreated
) -> None:
    """Not even when its identity was forgotten: only what was refused can be replayed."""
    await counting.create(key)
    use = a_use(key)
    await counting.apply([use])
    await counting.drop_every_identity()
    assert await counting.apply([replayed(use, 20)]) == []
    assert await counting.value(REQUESTS) == 1


async def test_a_record_that_claims_to_be_a_replay_of_nothing_is_judged_like_any_other(
    counting: Counting, key: KeyCreated
) -> None:
    await counting.create(key)
    claims: Sequence[bytes] = (b"keys.usage/0@3", b"keys.usage/0@999", b"\xff", b"")
    records = [
        dataclasses.replace(a_use(key, offset), headers=((REPLAY_HEADER, claim),))
        for offset, claim in enumerate(claims, start=10)
    ]
    assert await counting.apply(records) == []
    assert await counting.value(REQUESTS) == len(claims)


async def test_of_a_batch_only_what_was_refused_counts_when_it_is_replayed(
    counting: Counting, key: KeyCreated
) -> None:
    """The batch has a use that has counted, two of unknown keys, one of them for ever, and one unreadable."""
    known = a_key_created()
    await counting.create(known)
    uses = [a_use(known), a_use(key), a_use(a_key_created())]
    batch = dataclasses.replace(
        uses[0],
        value=b"[" + b",".join([*(use.value or b"" for use in uses), b"{}"]) + b"]",
        headers=(("content-type", b"application/cloudevents-batch+json"),),
    )
    (letter,) = await counting.apply([batch])
    assert letter.reason == "unknown key"
    assert "unreadable record" in letter.error
    assert (await counting.value(REQUESTS), await counting.value(REFUSED)) == (1, 2)
    await counting.create(key)
    await counting.drop_every_identity()
    (letter,) = await counting.apply([replayed(batch, 20)])
    assert (letter.reason, letter.record.offset) == ("unknown key", 7)
    assert "unreadable" not in letter.error
    assert (await counting.value(REQUESTS), await counting.value(REFUSED)) == (2, 1)
    await counting.drop_every_identity()
    await counting.apply([replayed(batch, 21)])
    assert (await counting.value(REQUESTS), await counting.value(REFUSED)) == (2, 1)


async def test_refused_uses_are_forgotten_with_their_dead_letters(counting: Counting) -> None:
    await counting.apply([a_use(a_key_created())])
    late = appended(a_use(a_key_created(), time=NOON + 90 * DAY), 8, 91 * DAY)
    await counting.apply([late])
    assert await counting.value("SELECT array_agg(record_offset) FROM projector.usage_refused") == [8]
