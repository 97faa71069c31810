"""Whoever may write to keys.lifecycle can put a key there, but cannot make it pass, nor hide another one."""

from __future__ import annotations

import time

import bcrypt
import orjson
import psycopg
import pytest

from events.codec import encode
from events.keys import KeyCreated, KeyEvent
from events.shown_keys import display_prefix
from services.api.settings import ApiSettings
from services.api.validation.key_material import Fingerprints
from tests.acceptance.client import ApiClient
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import ApiNode, Stack
from tests.acceptance.the_log import append, postgres_agrees, records
from tests.bcrypt_hashes import BAD
from tests.builders import a_key_created, a_key_rotated

OLD_PEPPER = "p0:an-older-pepper-for-tests-only-77aa01c3"
NEW_PEPPER = "p2:another-pepper-for-tests-only-0b6c2f91d4"
REFUSALS = "hokusai_api_unknown_pepper_refusals_total"
CHECKS = "hokusai_api_bcrypt_checks_total"
NOTICE_SECONDS = 10.0
SECRET = "hk_live_" + "Fo" * 16


def hashed(secret: str) -> str:
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()


def put(stack: Stack, event: KeyEvent, bcrypt_hash: str | None = None) -> None:
    """Append the event, with any hash in the place of its own."""
    written = orjson.loads(encode(event))
    if bcrypt_hash is not None:
        written["data"].get("new_key", written["data"])["bcrypt_hash"] = bcrypt_hash
    append(stack, event.partitionkey, orjson.dumps(written))


def knows(node: ApiNode, key_id: str) -> None:
    eventually(
        lambda: node.client.look_up(key_id).status_code == 200, NOTICE_SECONDS, f"{key_id} on {node.name}"
    )


def a_forgery(secret: str, pepper_id: str, bcrypt_hash: str | None = None) -> KeyCreated:
    return a_key_created(
        pepper_id=pepper_id,
        key_prefix=display_prefix(secret),
        bcrypt_hash=bcrypt_hash or hashed(secret),
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_key_under_a_pepper_of_nobody_does_not_pass(stack: Stack, workers: int) -> None:
    stack.projector()
    node = stack.api(workers=workers)
    forged = a_forgery(SECRET, "made-up.00000000")
    put(stack, forged)
    knows(node, forged.subject)

    assert [node.client.validate(SECRET).status_code for _ in range(30)] == [401] * 30

    assert node.metric(REFUSALS) == 30
    assert node.metric(CHECKS) == 0
    told = [line for line in node.log_of_this_run().splitlines() if "made-up.00000000" in line]
    assert 1 <= len(told) <= workers
    assert "KEY_PEPPERS" in told[0]


def test_a_key_that_looks_like_a_forged_one_passes(stack: Stack) -> None:
    stack.projector()
    before = stack.api(KEY_PEPPERS=OLD_PEPPER)
    key = before.client.new_key()
    before.stop()
    node = stack.api(KEY_PEPPERS=NEW_PEPPER)
    forged = a_forgery(key.api_key, "made-up.00000000", hashed("something else"))
    put(stack, forged)
    for bad in BAD.values():
        put(stack, a_forgery(key.api_key, _id_of(stack, OLD_PEPPER)), bad)
    knows(node, forged.subject)

    assert node.client.accepts(key.api_key)
    assert node.metric(CHECKS) == 1


def test_a_node_learns_of_a_pepper_that_another_one_was_started_with_since(stack: Stack) -> None:
    stack.projector()
    node = stack.api(KEY_PEPPERS=OLD_PEPPER)
    other = stack.api(KEY_PEPPERS=NEW_PEPPER)

    for _ in range(3):
        key = other.client.new_key()
        knows(node, key.key_id)
        assert node.client.accepts(key.api_key)
    old = node.client.new_key()
    knows(other, old.key_id)
    assert other.client.accepts(old.api_key)


def test_each_node_declares_its_peppers_once_and_no_secret(stack: Stack) -> None:
    for pepper in (OLD_PEPPER, f"{NEW_PEPPER},{OLD_PEPPER}", NEW_PEPPER):
        stack.api(KEY_PEPPERS=pepper).stop()

    found = records(stack, stack.topics.peppers)

    names = sorted((record.key or b"").split(b".")[0] for record in found)
    assert names == [b"p0", b"p2"]
    for record in found:
        assert b"for-tests-only" not in (record.value or b"")


@pytest.mark.parametrize("bad", ["cost 31", "cost 15", "a salt of half a byte more", "too short"])
def test_a_hash_that_nobody_could_check_costs_nobody_anything(stack: Stack, bad: str) -> None:
    """In the log, and in a row that an older projector has made of one."""
    stack.projector()
    before = stack.api(KEY_PEPPERS=OLD_PEPPER)
    key = before.client.new_key()
    rotated = a_forgery(SECRET, _id_of(stack, OLD_PEPPER))
    put(stack, rotated)
    put(stack, a_forgery(key.api_key, _id_of(stack, OLD_PEPPER)), BAD[bad])
    put(stack, a_key_rotated(rotated), BAD[bad])
    looks_alike = a_forgery(key.api_key, _id_of(stack, OLD_PEPPER), hashed("something else"))
    put(stack, looks_alike)
    knows(before, looks_alike.subject)
    postgres_agrees(stack)
    with psycopg.connect(stack.database_url) as connection:
        connection.execute(
            "UPDATE projector.key SET bcrypt_hash = %s WHERE key_id = %s", (BAD[bad], looks_alike.subject)
        )
    from_snapshot = stack.api(KEY_PEPPERS=NEW_PEPPER)
    from_log = stack.api(
        KEY_PEPPERS=NEW_PEPPER, DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere", wait=True
    )

    for node in (from_snapshot, from_log):
        began = time.monotonic()
        assert node.client.accepts(key.api_key), "the one good key that looks like this"
        assert node.client.validate(SECRET).status_code == 401, "its rotation could not be understood"
        assert _refuses(node.client, key.api_key[:11] + "x" * 29)
        assert time.monotonic() - began < 5
        assert node.metric("hokusai_api_parked_lineages") == 1


def _refuses(client: ApiClient, secret: str) -> bool:
    return client.validate(secret).status_code == 401


def _id_of(stack: Stack, pepper: str) -> str:
    """As a node that is started with it names it."""
    settings = ApiSettings.from_environment({**stack.settings, "KEY_PEPPERS": pepper})
    return Fingerprints(settings.key_peppers).newest_id
