"""Whatever is sent: never a 500, and never a pass without a right key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.api.running import ADMIN_TOKEN, Surroundings

pytestmark = pytest.mark.anyio

KEYS = "/api/v1/keys"
VALIDATE = "/api/v1/keys/validate"

# One api serves all examples of a test: it has to stand all of them, one after the other.
hostile = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

texts = st.text(max_size=40) | st.sampled_from(
    ["", "\0", "\u0661", "unknown", "platform", "203.0.113.7", "2026-11-23+30d", "hk_live_" + "a" * 32]
)
numbers = (
    st.integers() | st.floats() | st.sampled_from([0, -1, 1, 10, 365, 1000, 2**53, 2**63, 2**64, 10**400])
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "api_key",
    "service_id",
    "required_scope",
    "client_ip",
    "name",
    "scopes",
    "environment",
    "expires_in_days",
    "rate_limit_per_hour",
    "monthly_prediction_limit",
    "allowed_ips",
    "billing_plan",
    "expires_at",
    "grace_period_hours",
]
objects = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=6)
creations = objects.map(lambda fields: {"name": "ci", "service_id": "platform", **fields})
broken = st.sampled_from(
    [
        b"",
        b"{",
        b"\xff\xfe\0",
        b"NaN",
        b'{"api_key":NaN}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"9" * 60_000,
        b" " * 65_537,
        b'{"name":"' + b"n" * 65_000 + b'"}',
        b'{"name":"\\ud800","service_id":"platform"}',
        b'{"name":"ci","name":7,"service_id":"platform"}',
    ]
)


def as_json(value: object) -> bytes:
    """As a careless client writes it: NaN, Infinity and lone surrogates included."""
    return json.dumps(value).encode()


bodies = (objects | creations | values).map(as_json) | broken | st.binary(max_size=200)

header_names = st.sampled_from(
    ["Authorization", "X-API-Key", "Content-Type", "Content-Length", "X-Request-ID", "X-Forwarded-For"]
) | st.from_regex(r"[A-Za-z-]{1,20}", fullmatch=True)
header_values = st.binary(max_size=60) | st.sampled_from(
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer garbage",
        b"ApiKey hk_live_" + b"a" * 32,
        b"Basic YTpi",
        b"Bearer \xff\xfe",
        b"application/json",
        b"application/json; charset=\xff",
        b"multipart/form-data; boundary=x",
        b"99999999999999999999999999",
        b"-1",
    ]
)
headers = st.lists(st.tuples(header_names.map(str.encode), header_values), max_size=5)


#: From the right key to almost the right key.
SPOILT: dict[str, Callable[[str], str]] = {
    "too short": lambda key: key[:-1],
    "too long": lambda key: key + "a",
    "in capitals": str.upper,
    "in the other case": lambda key: key[:8] + key[8:].swapcase(),
    "of another environment": lambda key: key.replace("hk_live_", "hk_test_"),
    "with a NUL": lambda key: key + "\0",
    "with a zero width space": lambda key: key + "\u200b",
    "turned around": lambda key: key[:11] + key[:10:-1],
    "twice with a comma": lambda key: f"{key},{key}",
    "twice with a space": lambda key: f"{key} {key}",
    "as it is displayed": lambda key: key[:11] + "***",
}
#: Where a key may stand, and how to put it there: into the headers, and into the fields of the body.
PLACES: dict[str, Callable[[str], tuple[list[tuple[bytes, bytes]], dict[str, Any]]]] = {
    "Authorization": lambda key: ([(b"Authorization", b"Bearer " + key.encode())], {}),
    "X-API-Key": lambda key: ([(b"X-API-Key", key.encode())], {}),
    "body": lambda key: ([], {"api_key": key}),
}


@pytest.fixture
async def key(admin: httpx.AsyncClient) -> str:
    answer = await admin.post(KEYS, json={"name": "ci", "service_id": "platform"})
    secret: str = answer.json()["api_key"]
    return secret


@hostile
@given(headers=headers, body=bodies)
async def test_validation_without_a_key_is_400_401_or_413(
    api: Surroundings, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    async with api.client(admin=False) as client:
        answer = await client.post(VALIDATE, headers=headers, content=body)

    assert answer.status_code in (400, 401, 413)
    assert is_a_refusal(answer)


@hostile
@given(
    spoil=st.sampled_from(sorted(SPOILT)),
    place=st.sampled_from(sorted(PLACES)),
    fields=objects,
    headers=headers,
)
async def test_validation_of_almost_a_key_is_never_a_pass(
    api: Surroundings,
    key: str,
    spoil: str,
    place: str,
    fields: dict[str, Any],
    headers: list[tuple[bytes, bytes]],
) -> None:
    more_headers, more_fields = PLACES[place](SPOILT[spoil](key))

    async with api.client(admin=False) as client:
        answer = await client.post(
            VALIDATE, headers=[*headers, *more_headers], content=as_json({**fields, **more_fields})
        )

    assert answer.status_code in (400, 401, 413)
    assert is_a_refusal(answer)


@hostile
@given(fields=objects, wrap=st.sampled_from([lambda key: [key], lambda key: {"key": key}]))
async def test_a_right_key_in_the_wrong_type_is_never_a_pass(
    api: Surroundings, key: str, fields: dict[str, Any], wrap: Callable[[str], object]
) -> None:
    async with api.client(admin=False) as client:
        answer = await client.post(VALIDATE, content=as_json({**fields, "api_key": wrap(key)}))

    assert answer.status_code == 400


@hostile
@given(body=bodies)
@example(body=b" " * 65_536)
async def test_validation_with_the_right_key_judges_any_body(
    api: Surroundings, key: str, body: bytes
) -> None:
    async with api.client(admin=False) as client:
        answer = await client.post(VALIDATE, headers={"Authorization": f"Bearer {key}"}, content=body)

    assert answer.status_code in (200, 400, 401, 413)
    if answer.status_code == 200:
        asked = json.loads(body).get("service_id") if body.strip() not in (b"", b"null") else None
        assert asked in (None, "platform", "website", "ml-platform")


@hostile
@given(headers=headers, body=bodies)
async def test_creating_without_the_token_is_401_or_413(
    api: Surroundings, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    async with api.client(admin=False) as client:
        answer = await client.post(KEYS, headers=headers, content=body)

    assert answer.status_code in (401, 413)
    assert set(answer.json()) == {"detail"}


@hostile
@given(headers=headers, body=creations.map(as_json) | bodies)
async def test_creating_is_201_of_what_is_allowed_or_says_what_is_wrong(
    api: Surroundings, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    sent = [(name, value) for name, value in headers if name.lower() != b"authorization"]
    sent.append((b"Authorization", f"Bearer {ADMIN_TOKEN}".encode()))

    async with api.client(admin=False) as client:
        answer = await client.post(KEYS, headers=sent, content=body)

    assert answer.status_code in (201, 400, 413), answer.text
    if answer.status_code != 201:
        assert set(answer.json()) == {"detail"}
        return
    info = answer.json()["key_info"]
    assert 1 <= len(info["name"]) <= 100
    assert info["service_id"] in ("platform", "prediction", "website", "ml-platform")
    assert 10 <= info["rate_limit_per_hour"] <= 100_000
    assert info["environment"] in ("production", "test", "development")


@hostile
@given(body=bodies)
async def test_rotating_is_200_or_says_what_is_wrong(api: Surroundings, body: bytes) -> None:
    async with api.client() as admin:
        created = (await admin.post(KEYS, json={"name": "ci", "service_id": "platform"})).json()
        answer = await admin.post(f"{KEYS}/{created['key_id']}/rotate", content=body)

    assert answer.status_code in (200, 400, 413), answer.text


@hostile
@given(path=st.text(max_size=30), method=st.sampled_from(["GET", "DELETE", "PUT"]))
async def test_no_path_fails(api: Surroundings, path: str, method: str) -> None:
    async with api.client() as admin:
        answer = await admin.request(method, f"{KEYS}/{quote(path, safe='/')}")

    assert answer.status_code in (200, 307, 404, 405), answer.text


@hostile
@given(
    name=st.sampled_from(["service_id", "active_only", "limit", "cursor"]),
    value=texts | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")),
)
async def test_listing_is_200_or_names_the_bad_parameter(api: Surroundings, name: str, value: str) -> None:
    async with api.client() as admin:
        answer = await admin.get(KEYS, params={name: value})

    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["detail"].startswith(f"{name}: ")


def is_a_refusal(answer: httpx.Response) -> bool:
    body = answer.json()
    return set(body) == {"detail"} or (body["is_valid"] is False and body["key_id"] is None)
