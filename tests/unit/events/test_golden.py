"""Every version of every event ever written stays readable.

The files in tests/golden hold bytes as they were written then: they are never made anew. A new version adds
a file and leaves the others; their expected events are then what the upcasters make of them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from events.asyncapi import EVENTS, SCHEMAS, TOTALS
from events.codec import Event, Total, decode, decode_total, encode
from events.keys import (
    IssuedKey,
    KeyCreated,
    KeyRefingerprinted,
    KeyRevoked,
    KeyRotated,
    Refingerprinting,
    Revocation,
    Rotation,
)
from events.peppers import ConfiguredPepper, PepperConfigured
from events.totals import (
    HourlyTotals,
    HourlyUsage,
    RevisionsPart,
    Statement,
    StatementClosed,
    StatementLine,
    StatementRevisions,
    WindowCount,
)
from events.usage import KeyUsed, Usage
from events.usage_progress import PublishedUsage, UsagePublished

GOLDEN = Path(__file__).parents[2] / "golden"

FIRST = "019bc111-5c40-7000-8000-000000000001"
SECOND = "019bc111-5c40-7000-8000-000000000002"

CREATED = KeyCreated(
    id="019bc111-5c40-7aaa-8000-000000000001",
    source="urn:hokusai:api",
    subject=FIRST,
    time=datetime(2026, 1, 15, 10, 30, tzinfo=UTC),
    partitionkey=FIRST,
    actor="admin",
    correlationid="request-1",
    sequence=1,
    data=IssuedKey(
        key_id=FIRST,
        lineage_id=FIRST,
        name="nächtliches Training",
        user_id="admin",
        service_id="platform",
        environment="production",
        scopes=("model:read", "model:write"),
        allowed_ips=("10.0.0.0/8", "2001:db8::1"),
        rate_limit_per_hour=1000,
        monthly_prediction_limit=50_000,
        billing_plan="pro",
        expires_at=datetime(2026, 2, 14, 10, 30, tzinfo=UTC),
        lifetime_days=30,
        key_prefix="hk_live_AbC***",
        bcrypt_hash="$2b$12$" + "abcdefghijklmnopqrstuuwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.",
        fingerprint="00112233445566778899aabbccddeeff" * 2,
        pepper_id="2026-01",
    ),
)
ROTATED = KeyRotated(
    id="019bc111-5c40-7aaa-8000-000000000002",
    source="urn:hokusai:api",
    subject=FIRST,
    time=datetime(2026, 1, 20, 8, 0, 0, 123456, tzinfo=UTC),
    partitionkey=FIRST,
    actor="admin",
    sequence=2,
    data=Rotation(
        key_id=FIRST,
        new_key=CREATED.data.model_copy(
            update={
                "key_id": SECOND,
                "expires_at": datetime(2026, 2, 19, 8, 0, 0, 123456, tzinfo=UTC),
                "key_prefix": "hk_live_XyZ***",
                "bcrypt_hash": "$2b$12$" + "ZYXWVUTSRQPONMLKJIHGFeDCBAzyxwvutsrqponmlkjihgfedcba/",
                "fingerprint": "ffeeddccbbaa99887766554433221100" * 2,
            }
        ),
        valid_until=datetime(2026, 1, 21, 8, 0, 0, 123456, tzinfo=UTC),
    ),
)
REVOKED = KeyRevoked(
    id="019bc111-5c40-7aaa-8000-000000000003",
    source="urn:hokusai:api",
    subject=SECOND,
    time=datetime(2026, 2, 1, tzinfo=UTC),
    partitionkey=FIRST,
    actor="admin",
    correlationid="request-3",
    sequence=3,
    data=Revocation(key_id=SECOND, reason="revoked by an administrator"),
)
REFINGERPRINTED = KeyRefingerprinted(
    id="019bc111-5c40-7aaa-8000-000000000007",
    source="urn:hokusai:api",
    subject=SECOND,
    time=datetime(2026, 2, 2, 9, 15, 0, 250000, tzinfo=UTC),
    partitionkey=FIRST,
    actor="hokusai-auth/api",
    correlationid="request-4",
    sequence=4,
    data=Refingerprinting(
        key_id=SECOND, fingerprint="89abcdef01234567fedcba9876543210" * 2, pepper_id="2026-02"
    ),
)
USED = KeyUsed(
    id="019bc111-5c40-7aaa-8000-000000000004",
    source="urn:hokusai:platform",
    subject=SECOND,
    time=datetime(2026, 1, 31, 23, 59, 59, 999000, tzinfo=UTC),
    partitionkey=SECOND,
    actor="platform",
    data=Usage(
        key_id=SECOND,
        service_id="platform",
        endpoint="/api/v1/models/30/predict",
        status_code=200,
        response_time_ms=12.5,
        predictions_count=3,
        compute_ms=7.25,
    ),
)

HOUR_USED = HourlyUsage(
    id=f"{SECOND}/2026-01-31T23/3",
    source="hokusai-auth/projector",
    subject=SECOND,
    time=datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC),
    partitionkey=f"{SECOND}/2026-01-31T23",
    data=HourlyTotals(
        key_id=SECOND,
        lineage_id=FIRST,
        service_id="platform",
        hour=datetime(2026, 1, 31, 23, tzinfo=UTC),
        revision=3,
        requests=3,
        errors=1,
        predictions=9,
        compute_us=21_750,
        response_time_us=37_500,
    ),
)
COUNTED = WindowCount(
    node_id="00112233445566778899aabbccddeeff",
    kind="validations",
    lineage_id=FIRST,
    hour=491_591,
    count=7,
    last_used={SECOND: 1_769_730_000_001},
)
CONFIGURED = PepperConfigured(
    id="019bc111-5c40-7aaa-8000-000000000005",
    source="hokusai-auth/api/node-1",
    subject="2026a.3fa9c1d2",
    time=datetime(2026, 1, 15, 10, 0, tzinfo=UTC),
    partitionkey="2026a.3fa9c1d2",
    data=ConfiguredPepper(pepper_id="2026a.3fa9c1d2"),
)
JANUARY = StatementLine(
    kind="usage",
    month="2026-01",
    requests=3,
    predictions=51_500,
    compute_us=21_750,
    billable_predictions=1500,
    unit_price=Decimal("0.001"),
    amount=Decimal("1.500000"),
)
CLOSED = StatementClosed(
    id=f"{FIRST}/2026-01",
    source="hokusai-auth/billing",
    subject=FIRST,
    time=datetime(2026, 2, 3, tzinfo=UTC),
    partitionkey=f"{FIRST}/2026-01",
    data=Statement(
        lineage_id=FIRST,
        month="2026-01",
        billing_plan="pro",
        monthly_prediction_limit=50_000,
        lines=(
            JANUARY,
            StatementLine(
                kind="adjustment",
                month="2025-12",
                requests=1,
                predictions=2,
                compute_us=0,
                billable_predictions=0,
                unit_price=Decimal("0.001"),
                amount=Decimal("0.000000"),
            ),
        ),
        total=Decimal("1.500000"),
        revisions={FIRST: {"2025-12-31T23": 4}, SECOND: {"2026-01-31T23": 3}},
    ),
)

CLOSED_IN_PARTS = CLOSED.model_copy(
    update={"data": CLOSED.data.model_copy(update={"parts": 2, "digest": "0123456789abcdef" * 4})}
)
MORE_REVISIONS = StatementRevisions(
    id=f"{FIRST}/2026-01/2",
    source="hokusai-auth/billing",
    subject=FIRST,
    time=datetime(2026, 2, 3, tzinfo=UTC),
    partitionkey=f"{FIRST}/2026-01/2",
    data=RevisionsPart(
        lineage_id=FIRST,
        month="2026-01",
        digest="0123456789abcdef" * 4,
        part=2,
        parts=2,
        revisions={SECOND: {"2026-01-31T22": 7}},
    ),
)
PUBLISHED = UsagePublished(
    id="019bc111-5c40-7aaa-8000-000000000006",
    source="hokusai-auth/projector",
    subject="usage",
    time=datetime(2026, 2, 3, 0, 0, 2, tzinfo=UTC),
    partitionkey="usage",
    data=PublishedUsage(complete_until=datetime(2026, 2, 3, 0, 0, 1, 999000, tzinfo=UTC)),
)

EXPECTED: dict[str, Event | Total] = {
    "KeyCreated.v1.json": CREATED,
    "KeyRotated.v1.json": ROTATED,
    "KeyRevoked.v1.json": REVOKED,
    "KeyRefingerprinted.v1.json": REFINGERPRINTED,
    "KeyUsed.v1.json": USED,
    "HourlyUsage.v1.json": HOUR_USED,
    "WindowCount.v1.json": COUNTED,
    "StatementClosed.v1.json": CLOSED,
    "PepperConfigured.v1.json": CONFIGURED,
    "StatementClosed.v1.in-parts.json": CLOSED_IN_PARTS,
    "StatementRevisions.v1.json": MORE_REVISIONS,
    "UsagePublished.v1.json": PUBLISHED,
}
CURRENT = [name for name, event in EXPECTED.items() if event.type.endswith(name.removesuffix(".json"))]

every_file = pytest.mark.parametrize("name", EXPECTED)


def test_every_golden_file_is_expected_and_every_expected_one_is_there() -> None:
    assert {file.name for file in GOLDEN.iterdir()} == EXPECTED.keys()


def test_every_event_has_a_golden_file_of_its_current_version() -> None:
    assert {type(EXPECTED[name]) for name in CURRENT} == {*EVENTS, *TOTALS}


@every_file
def test_what_was_written_then_is_read_today(name: str) -> None:
    read = decode_total if isinstance(EXPECTED[name], Total) else decode
    assert read((GOLDEN / name).read_bytes()) == EXPECTED[name]


@pytest.mark.parametrize("name", CURRENT)
def test_the_current_version_is_written_as_it_was_then(name: str) -> None:
    assert json.loads(encode(EXPECTED[name])) == json.loads((GOLDEN / name).read_bytes())


@pytest.mark.parametrize("name", CURRENT)
def test_what_is_written_keeps_to_its_json_schema(name: str) -> None:
    schema = json.loads((SCHEMAS / name).read_bytes())
    Draft202012Validator(schema).validate(json.loads((GOLDEN / name).read_bytes()))
