"""Tokens that open routes."""

from __future__ import annotations

import pytest

from services.api.errors import Unauthenticated
from services.api.http.bearer_tokens import BearerTokens

OLD, NEW = "an-old-admin-token-0123", "a-new-admin-token-4567"
TOKENS = BearerTokens([NEW, OLD])


@pytest.mark.parametrize("token", [OLD, NEW])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_each_token_opens_so_that_one_can_be_replaced_without_an_outage(scheme: str, token: str) -> None:
    TOKENS.check([f"{scheme} {token}"])


@pytest.mark.parametrize("headers", [[], [""], ["Basic YWRtaW46YWRtaW4="], [NEW], ["Token " + NEW]])
def test_without_a_bearer_token_one_is_not_authenticated(headers: list[str]) -> None:
    with pytest.raises(Unauthenticated, match=r"^Not authenticated$"):
        TOKENS.check(headers)


@pytest.mark.parametrize(
    "credential",
    ["wrong", "", NEW + "x", NEW[:-1], NEW.upper(), f"{NEW},{OLD}", f"{NEW} {OLD}", "\xe9" * 20, "\0"],
)
def test_a_wrong_token_is_refused(credential: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^Invalid authentication credentials$"):
        TOKENS.check([f"Bearer {credential}"])


def test_two_authorization_headers_are_refused_even_where_one_is_right() -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.check([f"Bearer {NEW}", "Bearer wrong"])


def test_neither_the_tokens_nor_the_error_show_a_token() -> None:
    with pytest.raises(Unauthenticated) as refused:
        TOKENS.check(["Bearer a-presented-token-8910"])

    assert "8910" not in f"{refused.value!r}"
    assert NEW not in repr(TOKENS)
