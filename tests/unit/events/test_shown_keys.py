"""A key that ends up in an event by mistake is cut to what may be shown of it."""

from __future__ import annotations

import pytest

from events.codec import decode, encode
from events.shown_keys import hide_keys
from events.usage import KeyUsed
from tests.builders import some_usage

SECRET = "a1B2" * 8
KEY = f"hk_live_{SECRET}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (KEY, "hk_live_a1B***"),
        (f"/predict?api_key={KEY}&x=1", "/predict?api_key=hk_live_a1B***&x=1"),
        (f"{KEY},hk_test_{SECRET}", "hk_live_a1B***,hk_test_a1B***"),
        ("/hk_live_/predict", "/hk_live_/predict"),
        ("", ""),
    ],
    ids=["alone", "in-a-query", "two", "no-secret", "empty"],
)
def test_only_what_may_be_shown_is_left(text: str, shown: str) -> None:
    assert hide_keys(text) == shown


def test_a_use_carries_no_key_whoever_wrote_it() -> None:
    written = some_usage(endpoint=f"/predict?api_key={KEY}", service_id=f"for {KEY}")
    assert SECRET.encode() not in encode(written)
    foreign = encode(some_usage(endpoint="/here")).replace(b"/here", f"/{KEY}".encode())
    read = decode(foreign)
    assert isinstance(read, KeyUsed)
    assert read.data.endpoint == "/hk_live_a1B***"
