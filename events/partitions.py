"""In which partition a key's records belong: where Kafka's Java client puts them."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]

#: Hashing in Python takes 9 us, and the same keys are used again and again.
REMEMBERED_KEYS = 100_000


@lru_cache(maxsize=REMEMBERED_KEYS)
def home_partition(key: str, partitions: int) -> int:
    """The partition of a record key. Emitters with another partitioner put its records elsewhere."""
    hashed: int = murmur2(key.encode())
    return (hashed & 0x7FFFFFFF) % partitions
