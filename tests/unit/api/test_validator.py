"""May this key pass? Every verdict, in the order of the checks, whatever the clock does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from events.lineage import Key, Lineage, issued_key, park
from events.shown_keys import display_prefix
from services.api.limits.due import DueSignal
from services.api.limits.rate_limits import RateLimits
from services.api.limits.window_tables import WindowTables
from services.api.metrics import Metrics
from services.api.validation.bcrypt_fallback import BcryptFallback
from services.api.validation.hashing import Hasher
from services.api.validation.key_material import Fingerprints, Pepper, generate_key
from services.api.validator import KeyValidator, Question
from services.api.verdict import Verdict
from tests.builders import a_key_created
from tests.fakes import ManualTime
from tests.unit.api.directory.harness import a_store
from tests.unit.api.workers import LocalFollower, judge

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PEPPER = Pepper("2026", "a pepper of thirty-two characters")
RIGHT = Question("platform", "train", "203.0.113.7")
#: Wrong in every respect: what is answered shows which check came first.
WRONG = Question("prediction", "delete", "198.51.100.1")


class Desk:
    """A validator, and the keys that it knows."""

    def __init__(self, folder: Path, hasher: Hasher, peppers: Sequence[Pepper] = (PEPPER,)) -> None:
        self.time = ManualTime(NOW)
        self.fingerprints = Fingerprints(peppers)
        self.store = a_store(folder, self.fingerprints.known_ids)
        self.clock = self.time.clock()
        directory = self.store.directory
        follower = LocalFollower(self.store.writer, self.fingerprints.newest_id)
        bcrypt_fallback = BcryptFallback(
            directory, self.fingerprints, follower, hasher, self.clock, Metrics()
        )
        self._tables, self._due = WindowTables(folder), DueSignal(folder)
        limits = RateLimits(self._tables, self._due)
        self.validator = KeyValidator(directory, self.fingerprints, bcrypt_fallback, limits)

    def close(self) -> None:
        self._tables.close()
        self._due.close()

    def knows(self, *keys: Key, parked: str | None = None) -> None:
        lineage = Lineage(keys[0].lineage_id, len(keys), keys)
        self.store.writer.put(lineage if parked is None else park(lineage, parked).lineage)

    def a_key(self, **facts: Any) -> tuple[bytes, Key]:
        """A fresh secret and its key, issued with these facts."""
        secret = generate_key("production").encode()
        issued = a_key_created(
            fingerprint=self.fingerprints.newest(secret).hex(),
            pepper_id=self.fingerprints.newest_id,
            key_prefix=display_prefix(secret.decode()),
            **facts,
        )
        return secret, issued_key(issued.data, NOW)

    def verdict(self, secret: bytes, question: Question = RIGHT) -> Verdict:
        known = self.validator.find(secret)
        if known is None:
            return Verdict.UNKNOWN
        return judge(self.validator, known, question, self.clock.seconds())


@pytest.fixture
def hasher() -> Iterator[Hasher]:
    hasher = Hasher(4)
    yield hasher
    hasher.close()


@pytest.fixture
def desk(tmp_path: Path, hasher: Hasher) -> Iterator[Desk]:
    desk = Desk(tmp_path, hasher)
    yield desk
    desk.close()


def test_a_known_live_key_passes(desk: Desk) -> None:
    secret, key = desk.a_key()
    desk.knows(key)

    assert desk.verdict(secret) is Verdict.VALID
    assert desk.verdict(secret, Question()) is Verdict.VALID


def test_a_key_fenced_in_every_way_passes_inside_of_its_fences(desk: Desk) -> None:
    secret, key = desk.a_key(
        scopes=("predict", "train"), allowed_ips=("203.0.113.0/24",), expires_at=NOW + timedelta(days=1)
    )
    desk.knows(key)

    assert desk.verdict(secret) is Verdict.VALID


def test_keys_differ_in_upper_and_lower_case(desk: Desk) -> None:
    secret, key = desk.a_key()
    desk.knows(key)

    assert desk.verdict(b"hk_live_" + secret[8:].swapcase()) is Verdict.UNKNOWN


@pytest.mark.parametrize(("from_", "to"), [(b"hk_live_", b"hk_test_"), (b"hk_live_", b"hk_dev_")])
def test_a_key_of_one_environment_is_none_of_another(desk: Desk, from_: bytes, to: bytes) -> None:
    secret, key = desk.a_key()
    desk.knows(key)

    assert desk.verdict(secret.replace(from_, to)) is Verdict.UNKNOWN


@pytest.mark.anyio
@pytest.mark.parametrize(
    "presented",
    [
        b"",
        b"garbage",
        b"hk_live_" + b"a" * 32,
        b"hk_live_" + b"a" * 31,
        b"hk_live_" + b"a" * 5000,
        "hk_live_ünïcödé".encode(),
        b"hk_live_" + b"\xff" * 32,
        b"\0",
    ],
)
async def test_unknown_malformed_over_long_and_non_ascii_keys_get_one_verdict(
    desk: Desk, presented: bytes
) -> None:
    """Also where some key can only be verified by bcrypt, which takes at most 72 bytes."""
    _, key = desk.a_key()
    desk.knows(key._replace(pepper_id="retired"))

    assert desk.verdict(presented) is Verdict.UNKNOWN
    assert await desk.validator.find_by_bcrypt(presented) is None


def test_the_checks_come_in_order(desk: Desk) -> None:
    """Each repair of a key that is wrong in every respect brings the next check to light."""
    secret, key = desk.a_key(
        scopes=("train",), allowed_ips=("203.0.113.7",), expires_at=NOW - timedelta(days=1)
    )
    desk.knows(key._replace(revoked_at=NOW))
    assert desk.verdict(secret, WRONG) is Verdict.INACTIVE

    desk.knows(key)
    assert desk.verdict(secret, WRONG) is Verdict.EXPIRED

    desk.knows(key._replace(expires_at=None))
    assert desk.verdict(secret, WRONG) is Verdict.WRONG_SERVICE
    assert desk.verdict(secret, replace(WRONG, service_id="platform")) is Verdict.MISSING_SCOPE
    assert desk.verdict(secret, replace(RIGHT, client_ip="198.51.100.1")) is Verdict.OUTSIDE_ALLOWLIST
    assert desk.verdict(secret, RIGHT) is Verdict.VALID


def test_a_revoked_key_is_inactive(desk: Desk) -> None:
    secret, key = desk.a_key()
    desk.knows(key._replace(revoked_at=NOW))

    assert desk.verdict(secret) is Verdict.INACTIVE


def test_a_key_of_a_parked_lineage_is_inactive(desk: Desk) -> None:
    secret, key = desk.a_key()
    desk.knows(key, parked="gap")

    assert desk.verdict(secret) is Verdict.INACTIVE


def test_a_rotated_key_is_inactive_and_its_successor_passes(desk: Desk) -> None:
    old_secret, old = desk.a_key()
    secret, new = desk.a_key()
    desk.knows(old._replace(superseded_by=new.key_id), new._replace(lineage_id=old.lineage_id))

    assert desk.verdict(old_secret) is Verdict.INACTIVE
    assert desk.verdict(secret) is Verdict.VALID


def test_a_key_expires_to_the_second(desk: Desk) -> None:
    secret, key = desk.a_key(expires_at=NOW + timedelta(days=30))
    desk.knows(key)

    desk.time.pass_by(30 * 86400 - 1)
    assert desk.verdict(secret) is Verdict.VALID
    desk.time.pass_by(1)
    assert desk.verdict(secret) is Verdict.EXPIRED
    desk.time.pass_by(86400)
    assert desk.verdict(secret) is Verdict.EXPIRED


def test_an_old_key_lives_to_the_second_of_its_grace(desk: Desk) -> None:
    secret, key = desk.a_key()
    desk.knows(key._replace(superseded_by="new", valid_until=NOW + timedelta(hours=24)))

    desk.time.pass_by(24 * 3600 - 1)
    assert desk.verdict(secret) is Verdict.VALID
    desk.time.pass_by(1)
    assert desk.verdict(secret) is Verdict.INACTIVE


def test_a_wall_clock_stepped_back_an_hour_revives_nothing(desk: Desk) -> None:
    expired_secret, expired = desk.a_key(expires_at=NOW + timedelta(minutes=10))
    graced_secret, graced = desk.a_key()
    rotated_secret, rotated = desk.a_key()
    desk.knows(expired)
    desk.knows(graced._replace(superseded_by="new", valid_until=NOW + timedelta(minutes=10)))
    desk.knows(rotated._replace(superseded_by="new"))
    desk.time.pass_by(600)

    desk.time.step_wall(-3600)

    assert desk.verdict(expired_secret) is Verdict.EXPIRED
    assert desk.verdict(graced_secret) is Verdict.INACTIVE
    assert desk.verdict(rotated_secret) is Verdict.INACTIVE


@pytest.mark.parametrize("name", ["platform", "website", "ml-platform"])
@pytest.mark.parametrize("asked", ["platform", "website", "ml-platform"])
def test_the_old_names_of_the_platform_mean_the_platform(desk: Desk, name: str, asked: str) -> None:
    secret, key = desk.a_key(service_id=name)
    desk.knows(key)

    assert desk.verdict(secret, Question(service_id=asked)) is Verdict.VALID


@pytest.mark.parametrize(
    ("service_id", "asked"),
    [
        ("prediction", "platform"),
        ("platform", "prediction"),
        ("website", "prediction"),
        ("platform", "hokusai-registry"),
        ("platform", "Platform"),
        ("platform", ""),
    ],
)
def test_a_key_is_for_one_service(desk: Desk, service_id: str, asked: str) -> None:
    secret, key = desk.a_key(service_id=service_id)
    desk.knows(key)

    assert desk.verdict(secret, Question(service_id=asked)) is Verdict.WRONG_SERVICE


def test_a_key_without_scopes_has_full_access_within_its_service(desk: Desk) -> None:
    secret, key = desk.a_key(scopes=())
    desk.knows(key)

    assert desk.verdict(secret, Question(required_scope="anything:at:all")) is Verdict.VALID


@pytest.mark.parametrize("scope", ["model", "model:rea", "model:read ", "Model:read", "model:*", "", "*"])
def test_scopes_are_matched_exactly(desk: Desk, scope: str) -> None:
    secret, key = desk.a_key(scopes=("model:read", "model:write"))
    desk.knows(key)

    assert desk.verdict(secret, Question(required_scope="model:read")) is Verdict.VALID
    assert desk.verdict(secret, Question(required_scope=scope)) is Verdict.MISSING_SCOPE


def test_a_key_with_scopes_passes_where_no_scope_is_asked_for(desk: Desk) -> None:
    secret, key = desk.a_key(scopes=("model:read",))
    desk.knows(key)

    assert desk.verdict(secret, Question()) is Verdict.VALID


@pytest.mark.parametrize("address", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::9"])
def test_an_allowed_address_passes(desk: Desk, address: str) -> None:
    secret, key = desk.a_key(allowed_ips=("203.0.113.0/24", "2001:db8::/32"))
    desk.knows(key)

    assert desk.verdict(secret, Question(client_ip=address)) is Verdict.VALID


@pytest.mark.parametrize("address", ["198.51.100.1", "unknown", "", "2001:db9::1"])
def test_any_other_address_and_what_is_none_is_outside(desk: Desk, address: str) -> None:
    secret, key = desk.a_key(allowed_ips=("203.0.113.0/24", "2001:db8::/32"))
    desk.knows(key)

    assert desk.verdict(secret, Question(client_ip=address)) is Verdict.OUTSIDE_ALLOWLIST


@pytest.mark.parametrize("address", ["unknown", "", "not an address"])
def test_addresses_do_not_matter_to_a_key_without_an_allowlist(desk: Desk, address: str) -> None:
    secret, key = desk.a_key()
    desk.knows(key)

    assert desk.verdict(secret, Question(client_ip=address)) is Verdict.VALID


def test_an_allowlist_that_cannot_be_understood_fails_closed(desk: Desk) -> None:
    secret, key = desk.a_key(allowed_ips=("203.0.113.7", "no address"))
    desk.knows(key)

    assert desk.verdict(secret, Question(client_ip="203.0.113.7")) is Verdict.OUTSIDE_ALLOWLIST


def test_verdicts_are_never_remembered(desk: Desk) -> None:
    secret, key = desk.a_key(scopes=("predict",), allowed_ips=("203.0.113.7",))
    desk.knows(key)
    assert desk.verdict(secret, Question("platform", "predict", "203.0.113.7")) is Verdict.VALID

    assert desk.verdict(secret, Question("platform", "predict", "203.0.113.8")) is Verdict.OUTSIDE_ALLOWLIST
    assert desk.verdict(secret, Question("platform", "train", "203.0.113.7")) is Verdict.MISSING_SCOPE
    desk.knows(key._replace(revoked_at=NOW))
    assert desk.verdict(secret, Question("platform", "predict", "203.0.113.7")) is Verdict.INACTIVE


def test_keys_work_on_under_an_older_pepper(tmp_path: Path, hasher: Hasher) -> None:
    older = Pepper("2025", "an older pepper of many characters")
    desk = Desk(tmp_path, hasher, [PEPPER, older])
    secret, key = desk.a_key()
    desk.knows(key._replace(fingerprint=Fingerprints([older]).newest(secret), pepper_id=older.id))

    known = desk.validator.find(secret)

    assert known is not None
    assert known.key_id == key.key_id
    assert desk.store.unverifiable == 0
    desk.close()
