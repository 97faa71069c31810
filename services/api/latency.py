"""How long answers take, counted in shared memory: buckets that double, so that finding one costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: What is timed on its own; everything else together is the last. A route is its template, never a path.
ROUTES = (
    ("POST", "/api/v1/keys/validate"),
    ("POST", "/api/v1/keys"),
    ("GET", "/api/v1/keys"),
    ("GET", "/api/v1/keys/{key_id}"),
    ("DELETE", "/api/v1/keys/{key_id}"),
    ("POST", "/api/v1/keys/{key_id}/rotate"),
    ("POST", "/api/v1/usage/{key_id}"),
    ("POST", "/api/v1/usage/{key_id}/debit"),
    ("GET", "/api/v1/usage/{key_id}/stats"),
    ("GET", "/api/v1/usage/{key_id}/billing"),
    ("GET", "/api/v1/usage/aggregate"),
    ("", "other"),
)
VALIDATE = 0
OTHER = len(ROUTES) - 1

#: The first bucket holds what took less than 64 microseconds, the last but one less than 17 seconds.
_FIRST_BITS = 6
BUCKETS = 20
#: Of one route: its buckets, and the sum of all microseconds.
NUMBERS = BUCKETS + 1

_PLACES = {route: place for place, route in enumerate(ROUTES)}


def place_of(method: str, template: str) -> int:
    """Which of `ROUTES` this is."""
    return _PLACES.get((method, template), OTHER)


def bucket_of(microseconds: int) -> int:
    """The one whose bound is the next power of two."""
    bucket = microseconds.bit_length() - _FIRST_BITS
    return 0 if bucket < 0 else min(bucket, BUCKETS - 1)


def cumulative(counts: Sequence[int]) -> Iterator[tuple[str, float]]:
    """Prometheus' buckets: each bound in seconds, and how many took no longer."""
    total = 0
    for bucket, count in enumerate(counts):
        total += count
        bound = "+Inf" if bucket == BUCKETS - 1 else repr((1 << (_FIRST_BITS + bucket)) / 1_000_000)
        yield bound, total
