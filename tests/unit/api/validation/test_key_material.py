"""The text of a key, and the fingerprint it is found by."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.shown_keys import display_prefix
from services.api.validation.key_material import (
    Fingerprints,
    Pepper,
    generate_key,
    is_well_formed,
)

OLD = Pepper("2025", "o" * 32)
NEW = Pepper("2026", "n" * 32)
KEY = b"hk_live_" + b"a" * 32


@pytest.mark.parametrize(
    ("environment", "mark"), [("production", "live"), ("test", "test"), ("development", "dev")]
)
def test_a_key_names_its_environment_and_has_32_random_characters(environment: str, mark: str) -> None:
    assert re.fullmatch(rf"hk_{mark}_[A-Za-z0-9]{{32}}", generate_key(environment))


def test_no_two_keys_are_alike() -> None:
    assert len({generate_key("production") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("environment", ["production", "test", "development"])
def test_a_generated_key_is_well_formed_and_fits_into_bcrypt(environment: str) -> None:
    key = generate_key(environment).encode()

    assert is_well_formed(key)
    assert len(key) <= 72


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"hk_live_",
        b"hk_live_" + b"a" * 31,
        b"hk_live_" + b"a" * 33,
        b"hk_live_" + b"a" * 100,
        b"hk_prod_" + b"a" * 32,
        b"HK_LIVE_" + b"a" * 32,
        b" " + KEY,
        KEY + b"\n",
        KEY + b"\0",
        b"hk_live_" + "é".encode() * 16,
        b"hk_live_" + b"\xff" * 32,
        b"hk_live_" + b"-" * 32,
    ],
)
def test_anything_else_is_not_a_key(key: bytes) -> None:
    assert not is_well_formed(key)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("hk_live_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "hk_live_AbC***"),
        ("hk_test_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "hk_test_AbC***"),
        ("hk_dev_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "hk_dev_AbC***"),
    ],
)
def test_three_random_characters_of_a_key_may_be_shown(key: str, shown: str) -> None:
    assert display_prefix(key) == shown


def test_a_new_key_is_stored_under_the_newest_pepper() -> None:
    fingerprints = Fingerprints([NEW, OLD])

    assert fingerprints.newest(KEY) == Fingerprints([NEW]).newest(KEY)
    assert fingerprints.newest_id == NEW.id


def test_a_key_is_looked_for_under_every_pepper_newest_first() -> None:
    fingerprints = Fingerprints([NEW, OLD])

    assert fingerprints.newest(KEY) == Fingerprints([NEW]).newest(KEY)
    assert list(fingerprints.older(KEY)) == [Fingerprints([OLD]).newest(KEY)]


def test_a_fingerprint_is_the_same_in_every_process_and_every_time() -> None:
    fingerprints = Fingerprints([OLD])

    assert fingerprints.newest(KEY) == fingerprints.newest(KEY)
    assert (
        fingerprints.newest(KEY).hex() == "3c68676250a4b36ebc28db6cb26172f60db1d305904c782eaad892dfbab3cbb8"
    )


def test_another_secret_under_a_used_name_is_another_pepper() -> None:
    assert Pepper("2025", "x" * 32).id != OLD.id
    assert Fingerprints([Pepper("2025", "x" * 32)]).newest(KEY) != Fingerprints([OLD]).newest(KEY)


def test_a_pepper_shows_its_name_and_never_its_secret() -> None:
    assert OLD.id.startswith("2025.")
    assert OLD.secret not in OLD.id
    assert OLD.secret not in repr(OLD)


@given(st.binary(max_size=300))
def test_whatever_is_presented_has_a_fingerprint_of_32_bytes(presented: bytes) -> None:
    fingerprints = Fingerprints([NEW, OLD])

    assert [len(found) for found in (fingerprints.newest(presented), *fingerprints.older(presented))] == [
        32,
        32,
    ]


@given(st.binary(max_size=80))
def test_what_is_well_formed_can_be_shown_and_hashed(presented: bytes) -> None:
    if is_well_formed(presented):
        assert display_prefix(presented.decode("ascii")).endswith("***")
        assert len(presented) <= 72
