"""Verdicts, as clients read them."""

from __future__ import annotations

import pytest

from services.api.verdict import Verdict

REFUSED = (
    b'{"is_valid":false,"key_id":null,"user_id":null,"service_id":null,"scopes":null,'
    b'"rate_limit_per_hour":null,"billing_plan":null,"monthly_prediction_limit":null,"error":"%s"}'
)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict.UNKNOWN, b"Invalid API key"),
        (Verdict.INACTIVE, b"API key is inactive or has been revoked"),
        (Verdict.EXPIRED, b"API key has expired"),
        (Verdict.WRONG_SERVICE, b"Key not authorized for this service"),
        (Verdict.MISSING_SCOPE, b"Key does not have required scope"),
        (Verdict.OUTSIDE_ALLOWLIST, b"IP address not in allowlist"),
    ],
)
def test_a_refused_key_is_a_401_with_these_bytes(verdict: Verdict, text: bytes) -> None:
    """Clients take any other 4xx for a pass."""
    assert verdict.status == 401
    assert verdict.body() == REFUSED % text


def test_no_key_is_a_400_with_these_bytes() -> None:
    assert Verdict.NO_KEY.status == 400
    assert Verdict.NO_KEY.body() == b'{"detail":"No API key provided"}'


def test_an_hour_that_is_used_up_is_a_429_with_these_bytes() -> None:
    assert Verdict.RATE_LIMITED.status == 429
    assert Verdict.RATE_LIMITED.body() == b'{"detail":"Rate limit exceeded"}'


@pytest.mark.parametrize("verdict", [Verdict.STALE, Verdict.UNDECIDED])
def test_what_cannot_be_decided_is_a_503_with_a_detail(verdict: Verdict) -> None:
    assert verdict.status == 503
    assert verdict.body() == b'{"detail":"%s"}' % verdict.text.encode()


def test_only_a_valid_key_is_a_200() -> None:
    assert [verdict for verdict in Verdict if verdict.status == 200] == [Verdict.VALID]


def test_verdicts_are_numbered_without_a_gap() -> None:
    """Their counters stand at these places on a worker's seat."""
    assert [verdict.index for verdict in Verdict] == list(range(len(Verdict)))
