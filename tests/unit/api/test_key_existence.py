"""Ids of no key are told from those of keys that another node has just created."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.api.directory.follower_requests import FollowerRequests
from services.api.key_existence import KeyExistence
from tests.builders import a_key_created, fresh_id
from tests.unit.api.directory.harness import StoreHarness, a_store

pytestmark = pytest.mark.anyio


class AskedFollower:
    """Counts what it is asked, and answers what the test says; the log may have news by then."""

    def __init__(self) -> None:
        self.questions = 0
        self.is_caught_up_now: bool | None = True
        self.answers = asyncio.Event()
        self.answers.set()

    async def is_caught_up(self) -> bool | None:
        self.questions += 1
        await self.answers.wait()
        return self.is_caught_up_now


@pytest.fixture
def store(tmp_path: Path) -> StoreHarness:
    return a_store(tmp_path)


@pytest.fixture
def follower() -> AskedFollower:
    return AskedFollower()


@pytest.fixture
def existence(store: StoreHarness, follower: AskedFollower) -> KeyExistence:
    return KeyExistence(store.directory, follower)


async def test_a_key_in_the_store_exists_without_asking(
    store: StoreHarness, follower: AskedFollower, existence: KeyExistence
) -> None:
    created = a_key_created()
    store.applies(created)

    assert await existence.exists(created.data.key_id) is True
    assert follower.questions == 0


@pytest.mark.parametrize("key_id", ["none", "0197f3a0-0000-7000-8000-00000000000a", ""])
async def test_an_id_of_no_key_is_told_once_all_of_the_log_is_in_the_store(
    existence: KeyExistence, key_id: str
) -> None:
    assert await existence.exists(key_id) is False


async def test_a_key_exists_although_its_record_is_still_on_its_way(
    store: StoreHarness, follower: AskedFollower, existence: KeyExistence
) -> None:
    created = a_key_created()
    follower.answers.clear()

    asking = asyncio.create_task(existence.exists(created.data.key_id))
    await asyncio.wait([asking], timeout=0.02)
    assert not asking.done()
    store.applies(created)
    follower.answers.set()

    assert await asking is True


@pytest.mark.parametrize("answer", [False, None], ids=["not caught up", "away"])
async def test_where_the_follower_can_not_tell_nobody_can(
    store: StoreHarness, follower: AskedFollower, existence: KeyExistence, answer: bool | None
) -> None:
    created = a_key_created()
    store.applies(created)
    follower.is_caught_up_now = answer

    assert await existence.exists(fresh_id()) is None
    assert await existence.exists(created.data.key_id) is True


async def test_a_follower_that_is_away_leaves_it_open(store: StoreHarness, tmp_path: Path) -> None:
    existence = KeyExistence(store.directory, FollowerRequests(tmp_path))

    assert await existence.exists(fresh_id()) is None
