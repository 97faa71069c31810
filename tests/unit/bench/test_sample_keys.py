"""Events that benches make in bulk are the events that every service reads."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from bench.sample_keys import SampleKeys
from bench.sample_usage import some_uses
from bench.traffic import zipf
from events.codec import decode
from events.lifecycle import fold
from events.lineage import Lineage
from events.usage import KeyUsed
from services.api.validation.key_material import Fingerprints, Pepper, is_well_formed
from tests.builders import StoredRecord

PEPPER = Pepper("p1", "a-pepper-for-tests-only-5d1c9e7b42a8f603")


def test_what_becomes_of_sample_keys_is_what_the_fold_says() -> None:
    keys, fingerprints = SampleKeys(PEPPER), Fingerprints([PEPPER])
    lineages: dict[str, Lineage] = {}
    for key, value in keys.lives(40):
        lineage = fold(StoredRecord(key=key, value=value), lineages.get).lineage
        assert lineage is not None
        lineages[lineage.lineage_id] = lineage
    assert len(lineages) == 40
    now = datetime.now(UTC)
    for number in range(40):
        lineage = lineages[keys.key_id(number)]
        current = keys.current(number)
        assert lineage.current.is_active(now) is (current is not None)
        if current is not None:
            assert is_well_formed(current.encode())
            assert lineage.current.fingerprint == fingerprints.newest(current.encode())
            assert bool(lineage.current.settings.allowed_ips) is (number % 2 == 1)


def test_a_choice_of_keys_that_pass_has_all_kinds_of_them() -> None:
    """Every tenth is rotated, every second has an allowlist: a choice of every tenth would have one kind."""
    keys = SampleKeys(PEPPER)
    chosen = set(keys.some_current(1000, 100))
    numbers = [number for number in range(1000) if keys.current(number) in chosen]
    assert len(numbers) == len(chosen) <= 100
    assert {number % 10 for number in numbers} == set(range(10)) - {1}
    assert set(keys.some_current(1000, 100)) == chosen


def test_sample_uses_are_distinct_and_spread_over_their_keys() -> None:
    keys, until = SampleKeys(PEPPER), datetime.now(UTC)
    uses = [decode(value) for _, value in some_uses(keys, key_count=4, count=100, until=until)]
    assert all(isinstance(use, KeyUsed) and use.time <= until for use in uses)
    assert len({use.id for use in uses}) == 100
    assert Counter(use.subject for use in uses) == {keys.key_id(number): 25 for number in range(4)}


def test_the_second_by_zipf_comes_half_as_often_as_the_first() -> None:
    counts = Counter(zipf(1000, 100_000))
    assert 0.45 < counts[1] / counts[0] < 0.55
    assert zipf(1000, 10) == zipf(1000, 10)
