"""The document at /openapi.json says what the routes do."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import pytest

from tests.unit.api.running import Surroundings

pytestmark = pytest.mark.anyio

KEYS = "/api/v1/keys"
VALIDATE = "/api/v1/keys/validate"
USAGE = "/api/v1/usage"
A_USE = {"service_id": "platform", "endpoint": "/", "status_code": 200, "response_time_ms": 1.5}
OPERATIONS = {
    ("/api/v1/keys", "post"): {"201", "400", "401", "413", "415", "503"},
    ("/api/v1/keys", "get"): {"200", "400", "401", "503"},
    ("/api/v1/keys/{key_id}", "get"): {"200", "401", "404", "503"},
    ("/api/v1/keys/{key_id}", "delete"): {"200", "401", "404", "409", "503"},
    ("/api/v1/keys/{key_id}/rotate", "post"): {"200", "400", "401", "404", "409", "413", "415", "503"},
    ("/api/v1/keys/validate", "post"): {"200", "400", "401", "413", "415", "429", "503"},
    ("/api/v1/usage/{key_id}", "post"): {"200", "400", "401", "404", "409", "413", "415", "503"},
    ("/api/v1/usage/{key_id}/debit", "post"): {"200", "400", "401", "404", "409", "413", "415", "503"},
    ("/api/v1/usage/{key_id}/stats", "get"): {"200", "400", "401", "404", "503"},
    ("/api/v1/usage/{key_id}/billing", "get"): {"200", "401", "404", "503"},
    ("/api/v1/usage/aggregate", "get"): {"200", "400", "401", "503"},
    ("/health", "get"): {"200", "503"},
    ("/ready", "get"): {"200", "503"},
    ("/metrics", "get"): {"200"},
}


@pytest.fixture
async def document(anyone: httpx.AsyncClient) -> dict[str, Any]:
    answer = await anyone.get("/openapi.json")
    described: dict[str, Any] = answer.json()
    return described


async def test_every_route_is_described_with_every_status_that_it_answers(document: dict[str, Any]) -> None:
    described = {
        (path, method): set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }

    assert described == OPERATIONS


async def test_422_is_nowhere(document: dict[str, Any]) -> None:
    """Clients know 400."""
    assert "422" not in str(document)
    assert "HTTPValidationError" not in str(document)


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert references(document) == {f"#/components/schemas/{name}" for name in schemas}


async def test_the_schemas_are_valid(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_the_admins_routes_ask_for_a_token_and_the_others_do_not(document: dict[str, Any]) -> None:
    for (path, method), statuses in OPERATIONS.items():
        security = document["paths"][path][method].get("security", [])
        assert bool(security) == ("401" in statuses)
    assert {} in document["paths"][VALIDATE]["post"]["security"]


async def test_answers_are_as_described(
    document: dict[str, Any], api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    body = {"name": "ci", "service_id": "platform", "expires_in_days": 30}
    key = (created := await admin.post(KEYS, json=body)).json()
    answers = [
        (KEYS, "post", created),
        (KEYS, "post", await admin.post(KEYS)),
        (KEYS, "post", await anyone.post(KEYS)),
        (KEYS, "post", await admin.post(KEYS, content=b"x" * 70_000)),
        (KEYS, "get", await admin.get(KEYS)),
        (KEYS, "get", await admin.get(f"{KEYS}?limit=0")),
        (f"{KEYS}/{{key_id}}", "get", await admin.get(f"{KEYS}/{key['key_id']}")),
        (f"{KEYS}/{{key_id}}", "get", await admin.get(f"{KEYS}/none")),
        (VALIDATE, "post", await anyone.post(VALIDATE, json={"api_key": key["api_key"]})),
        (VALIDATE, "post", await anyone.post(VALIDATE, json={"api_key": "garbage"})),
        (VALIDATE, "post", await anyone.post(VALIDATE)),
        *[(KEYS, method, answer) for method, answer in await unavailable(api, admin)],
        *await usage_answers(api, admin, anyone, key["key_id"]),
        (f"{KEYS}/{{key_id}}", "delete", await admin.delete(f"{KEYS}/{key['key_id']}")),
        (f"{KEYS}/{{key_id}}/rotate", "post", await admin.post(f"{KEYS}/{key['key_id']}/rotate")),
        ("/health", "get", await anyone.get("/health")),
        ("/ready", "get", await anyone.get("/ready")),
    ]

    for path, method, answer in answers:
        described = document["paths"][path][method]["responses"][str(answer.status_code)]
        schema = described["content"]["application/json"]["schema"]
        whole = {**schema, "components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(answer.json())


async def test_metrics_are_described_as_text(document: dict[str, Any]) -> None:
    content = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]

    assert "text/plain" in content
    assert "application/json" not in content


async def usage_answers(
    api: Surroundings, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, key_id: str
) -> list[tuple[str, str, httpx.Response]]:
    record, debit = f"{USAGE}/{{key_id}}", f"{USAGE}/{{key_id}}/debit"
    a_debit = {**A_USE, "idempotency_key": "one"}
    answers = [
        (record, "post", await anyone.post(f"{USAGE}/{key_id}", json=A_USE)),
        (record, "post", await anyone.post(f"{USAGE}/{key_id}", json={})),
        (record, "post", await anyone.post(f"{USAGE}/none", json=A_USE)),
        (debit, "post", await anyone.post(f"{USAGE}/{key_id}/debit", json=a_debit)),
        (debit, "post", await anyone.post(f"{USAGE}/{key_id}/debit", json=A_USE)),
        (f"{record}/stats", "get", await admin.get(f"{USAGE}/{key_id}/stats")),
        (f"{record}/stats", "get", await admin.get(f"{USAGE}/{key_id}/stats?period=now")),
        (f"{record}/billing", "get", await admin.get(f"{USAGE}/{key_id}/billing")),
        (f"{record}/billing", "get", await admin.get(f"{USAGE}/none/billing")),
        (f"{USAGE}/aggregate", "get", await admin.get(f"{USAGE}/aggregate")),
        (f"{USAGE}/aggregate", "get", await anyone.get(f"{USAGE}/aggregate")),
    ]
    api.appends.is_away = True
    answers.append((record, "post", await anyone.post(f"{USAGE}/{key_id}", json=A_USE)))
    api.appends.is_away = False
    return answers


async def unavailable(api: Surroundings, admin: httpx.AsyncClient) -> list[tuple[str, httpx.Response]]:
    """The answers of two routes while the log and the read model are away."""
    api.appends.is_away = api.read_models.is_away = True
    answers = [
        ("post", await admin.post(KEYS, json={"name": "ci", "service_id": "platform"})),
        ("get", await admin.get(KEYS)),
    ]
    api.appends.is_away = api.read_models.is_away = False
    assert [answer.status_code for _, answer in answers] == [503, 503]
    return answers


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*map(references, node.values()))
    if isinstance(node, list):
        return set().union(*map(references, node))
    return set()
