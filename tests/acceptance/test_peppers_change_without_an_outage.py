"""A pepper is added, an old one removed: keys work on before, during and after the change."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from tests.acceptance.stack import PEPPER, Stack
from tests.acceptance.the_log import postgres_agrees

NEW_PEPPER = "p2:another-pepper-for-tests-only-0b6c2f91d4"
BCRYPT_CHECKS = "hokusai_api_bcrypt_checks_total"


def test_keys_outlive_their_pepper(stack: Stack) -> None:
    stack.projector()
    before = stack.api()
    old = before.client.new_key()
    postgres_agrees(stack)

    both = stack.api(KEY_PEPPERS=f"{NEW_PEPPER},{PEPPER}")
    new = both.client.new_key()
    assert both.client.accepts(old.api_key)
    assert both.metric(BCRYPT_CHECKS) == 0
    postgres_agrees(stack)

    after = stack.api(KEY_PEPPERS=NEW_PEPPER)
    assert after.client.accepts(new.api_key)
    assert after.metric(BCRYPT_CHECKS) == 0
    assert [after.client.accepts(old.api_key) for _ in range(3)] == [True] * 3
    assert after.metric(BCRYPT_CHECKS) == 1, "bcrypt recognises a key once"
    after.client.revoke(old.key_id)
    assert not after.client.accepts(old.api_key)


def test_a_bcrypt_check_slows_nobody_else(stack: Stack) -> None:
    """bcrypt at 14 rounds takes a second: long enough to see whether others wait for it."""
    before = stack.api(BCRYPT_ROUNDS="14")
    old = before.client.new_key()
    before.stop()

    after = stack.api(KEY_PEPPERS=NEW_PEPPER)
    other = after.client.new_key(rate_limit_per_hour=100_000)
    answered_meanwhile = 0
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        slow = pool.submit(after.client.accepts, old.api_key)
        while not slow.done():
            assert after.client.accepts(other.api_key)
            answered_meanwhile += 1
        assert slow.result()
        took_seconds = time.monotonic() - began
    assert answered_meanwhile > 10, f"{answered_meanwhile} answers in {took_seconds:.1f} s"
