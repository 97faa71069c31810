"""What is asked of validate: one hot key, many keys by Zipf's law, bad keys, fenced keys."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import accumulate

from bench.load import Request, Traffic
from bench.sample_keys import INSIDE, SCOPES, SampleKeys

PATH = "/api/v1/keys/validate"
PASSES = {200: '"is_valid":true,"key_id":"'}
UNKNOWN = {401: '"error":"Invalid API key"'}

#: How many requests are prepared; a generator begins anew after the last.
PREPARED = 200_000
BODY = {"service_id": "platform", "client_ip": INSIDE}


def bearer(secret: str, **more: str) -> Request:
    """As the platform's middleware asks; 48 bytes of body."""
    return Request(PATH, {"Authorization": f"Bearer {secret}"}, json.dumps({**BODY, **more}).encode())


def one_hot_key(keys: SampleKeys) -> Traffic:
    return Traffic([bearer(keys.secret(0))], PASSES)


def by_header(keys: SampleKeys) -> Traffic:
    """The hot key in X-API-Key."""
    return Traffic([Request(PATH, {"X-API-Key": keys.secret(0)}, json.dumps(BODY).encode())], PASSES)


def in_body(keys: SampleKeys) -> Traffic:
    """The hot key in the body."""
    return Traffic([Request(PATH, {}, json.dumps({**BODY, "api_key": keys.secret(0)}).encode())], PASSES)


def fenced_keys(keys: SampleKeys, key_count: int) -> Traffic:
    """Keys with scopes, an allowlist and a limit; each request asks for a scope."""
    fenced = range(1, key_count, 2)
    return Traffic([bearer(keys.secret(n), required_scope=SCOPES[0]) for n in fenced], PASSES)


def many_keys(secrets: Sequence[str], prepared: int = PREPARED) -> Traffic:
    """Popularity by Zipf's law: the second is asked for half as often as the first, and so on."""
    return Traffic([bearer(secrets[n]) for n in zipf(len(secrets), prepared)], PASSES)


def bad_keys(count: int = 1000) -> Traffic:
    """Well-formed keys that nobody has issued."""
    return Traffic([bearer(secret) for secret in _strangers(count)], UNKNOWN)


def zipf(ranks: int, count: int, seed: int = 1) -> list[int]:
    """So many numbers from 0 up to `ranks`, number n as often as 1 / (n + 1)."""
    weights = list(accumulate(1 / rank for rank in range(1, ranks + 1)))
    return random.Random(seed).choices(range(ranks), cum_weights=weights, k=count)  # noqa: S311


def _strangers(count: int) -> Iterator[str]:
    chosen = random.Random(2)  # noqa: S311
    for _ in range(count):
        yield f"hk_live_{chosen.getrandbits(128):032x}"
