"""A credential is read in one way, wherever it stands."""

from __future__ import annotations

import pytest

from services.api.http.credentials import read_credential

SCHEMES = (b"bearer", b"apikey")


@pytest.mark.parametrize(
    "header",
    [b"Bearer k", b"bearer k", b"BEARER k", b"Bearer\tk", b"Bearer  \t k ", b" Bearer k\r\n", b"ApiKey k"],
)
def test_the_scheme_is_written_in_any_case_with_any_blanks_behind_it(header: bytes) -> None:
    assert read_credential(header, SCHEMES) == b"k"


@pytest.mark.parametrize("header", [b"", b" ", b"Basic k", b"k", b"Bearerk", b"Bearer:k", b"Bear er k"])
def test_another_scheme_is_no_credential_of_ours(header: bytes) -> None:
    assert read_credential(header, SCHEMES) is None


@pytest.mark.parametrize("header", [b"Bearer", b"Bearer ", b"Bearer \t"])
def test_a_scheme_alone_is_an_empty_credential(header: bytes) -> None:
    assert read_credential(header, SCHEMES) == b""


def test_whatever_follows_belongs_to_the_credential() -> None:
    assert read_credential(b"Bearer k extra", SCHEMES) == b"k extra"
