"""What the callers of today send and read, as they were seen to do it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from tests.acceptance.client import VALIDATE
from tests.acceptance.stack import ADMIN_TOKEN, ApiNode

INFO = {
    "id", "key_id", "name", "key_prefix", "user_id", "service_id", "scopes", "environment", "is_active",
    "rate_limit_per_hour", "monthly_prediction_limit", "billing_plan", "created_at", "expires_at",
    "last_used_at", "allowed_ips",
}  # fmt: skip
SECURITY_HEADERS = {
    "content-security-policy": "",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "strict-transport-security": "max-age=31536000",
    "x-xss-protection": "1; mode=block",
    "referrer-policy": "strict-origin-when-cross-origin",
}


def test_create_answers_what_documents_and_command_line_read(node: ApiNode) -> None:
    answer = node.client.create(name="mine", scopes=["predict"])
    assert answer.status_code == 201
    body = answer.json()
    assert body.keys() == {"api_key", "key_id", "key_info"}
    info = body["key_info"]
    assert info.keys() == INFO
    assert body["key_id"] == info["key_id"] == info["id"] == str(UUID(body["key_id"]))
    assert body["api_key"].startswith(info["key_prefix"].removesuffix("***"))
    assert len(body["api_key"]) == len("hk_live_") + 32
    assert node.client.look_up(body["key_id"]).json() == info
    assert info in node.client.list().json()


def test_the_command_lines_expiry_means_days(node: ApiNode) -> None:
    sent = f"{datetime.now().isoformat()}+30d"  # noqa: DTZ005  (the command line sends a naive time)
    info = node.client.create(expires_at=sent).json()["key_info"]
    created = datetime.fromisoformat(info["created_at"])
    expires = datetime.fromisoformat(info["expires_at"])
    assert abs(expires - created - timedelta(days=30)) <= timedelta(seconds=2)
    assert info["created_at"].endswith("Z")
    assert datetime.now(UTC) - created < timedelta(minutes=1)


def test_rotate_takes_no_body_and_keeps_the_settings(node: ApiNode) -> None:
    old = node.client.create(scopes=["predict"], expires_in_days=7, rate_limit_per_hour=77).json()
    answer = node.client.rotate(old["key_id"])
    new = answer.json()
    assert answer.status_code == 200
    assert new["api_key"] != old["api_key"]
    same = ("name", "user_id", "service_id", "scopes", "environment", "rate_limit_per_hour", "billing_plan")
    assert {field: new["key_info"][field] for field in same} == {
        field: old["key_info"][field] for field in same
    }


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "ApiKey"])
def test_a_key_may_come_as_authorization(node: ApiNode, scheme: str) -> None:
    key = node.client.new_key()
    answer = node.client.post(VALIDATE, None, {"Authorization": f"{scheme} {key.api_key}"})
    assert answer.status_code == 200


def test_a_key_may_come_as_header_or_in_the_body(node: ApiNode) -> None:
    key = node.client.new_key()
    assert node.client.post(VALIDATE, None, {"X-API-Key": key.api_key}).status_code == 200
    assert node.client.post(VALIDATE, {"api_key": key.api_key}).status_code == 200


def test_a_header_comes_before_the_body(node: ApiNode) -> None:
    good, bad = node.client.new_key().api_key, "hk_live_" + "0" * 32
    bearer = {"Authorization": f"Bearer {good}"}
    assert node.client.post(VALIDATE, {"api_key": bad}, bearer).status_code == 200
    assert node.client.post(VALIDATE, {"api_key": good}, {"X-API-Key": bad}).status_code == 401


def test_validate_answers_what_clients_read(node: ApiNode) -> None:
    key = node.client.new_key(scopes=["predict", "read"], monthly_prediction_limit=5000)
    answer = node.client.validate(
        key.api_key, service_id="platform", required_scope="read", client_ip="unknown"
    )
    assert answer.json() == {
        "is_valid": True,
        "key_id": key.key_id,
        "user_id": "admin",
        "service_id": "platform",
        "scopes": ["predict", "read"],
        "rate_limit_per_hour": 1000,
        "billing_plan": "free",
        "monthly_prediction_limit": 5000,
    }


def test_every_refusal_is_401_with_its_text(node: ApiNode) -> None:
    client = node.client
    fenced = client.new_key(scopes=["predict"], allowed_ips=["10.0.0.0/8", "2001:db8::/32"])
    dead = client.new_key()
    client.revoke(dead.key_id)
    refusals = {
        "Invalid API key": client.validate("hk_live_" + "0" * 32),
        "API key is inactive or has been revoked": client.validate(dead.api_key),
        "Key not authorized for this service": client.validate(fenced.api_key, service_id="prediction"),
        "Key does not have required scope": client.validate(fenced.api_key, required_scope="train"),
        "IP address not in allowlist": client.validate(fenced.api_key, client_ip="unknown"),
    }
    for text, answer in refusals.items():
        assert (answer.status_code, answer.json()["error"]) == (401, text)
        assert answer.json()["is_valid"] is False
    assert client.validate(fenced.api_key, client_ip="10.1.2.3").status_code == 200
    assert client.validate(fenced.api_key, client_ip="::ffff:10.1.2.3").status_code == 200


@pytest.mark.parametrize("old_name", ["website", "ml-platform", "platform"])
def test_old_service_names_are_the_platform(node: ApiNode, old_name: str) -> None:
    key = node.client.new_key(service_id=old_name)
    assert node.client.validate(key.api_key, service_id="platform").status_code == 200
    assert node.client.validate(key.api_key, service_id="prediction").status_code == 401
    assert key.key_id in {info["key_id"] for info in node.client.list(service_id="platform").json()}


def test_no_key_anywhere_is_400(node: ApiNode) -> None:
    for body in (None, {}, {"service_id": "platform"}):
        answer = node.client.post(VALIDATE, body)
        assert (answer.status_code, answer.json()) == (400, {"detail": "No API key provided"})


def test_admin_routes_want_the_token(node: ApiNode) -> None:
    url = "/api/v1/keys"
    missing = node.client.post(url, {})
    assert (missing.status_code, missing.json()) == (401, {"detail": "Not authenticated"})
    wrong = node.client.post(url, {}, {"Authorization": "Bearer not-the-token-of-anybody"})
    assert (wrong.status_code, wrong.json()) == (401, {"detail": "Invalid authentication credentials"})
    right = node.client.post(url, {}, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert right.status_code == 400
    assert "name" in right.json()["detail"]


def test_unknown_keys_are_404(node: ApiNode) -> None:
    for key_id in (str(uuid4()), "not-an-id"):
        for answer in (node.client.look_up(key_id), node.client.revoke(key_id), node.client.rotate(key_id)):
            assert (answer.status_code, answer.json()) == (404, {"detail": "API key not found"})


def test_revoking_twice_is_as_good_as_once(node: ApiNode) -> None:
    key = node.client.new_key()
    for _ in range(2):
        answer = node.client.revoke(key.key_id)
        assert (answer.status_code, answer.json()) == (200, {"message": "API key revoked successfully"})
    assert node.client.look_up(key.key_id).json()["is_active"] is False
    assert key.key_id not in {info["key_id"] for info in node.client.list(active_only="true").json()}
    assert node.client.rotate(key.key_id).status_code == 409


def test_pages_are_the_list(node: ApiNode) -> None:
    for _ in range(3):
        node.client.new_key()
    whole = [info["key_id"] for info in node.client.list().json()]
    paged: list[str] = []
    answer = node.client.list(limit=max(2, len(whole) // 3))
    while True:
        paged += [info["key_id"] for info in answer.json()]
        if "next" not in answer.links:
            break
        answer = node.client.list_at(answer.links["next"]["url"])
    assert paged == whole


def test_security_headers_are_on_every_answer(node: ApiNode) -> None:
    answers = [
        node.client.list(),
        node.client.look_up("nothing"),
        node.client.post(VALIDATE, {}),
        node.client.post(VALIDATE, {"api_key": "x" * 100_000}),
        node.client.get("/health"),
        node.client.get("/"),
        node.client.get("/openapi.json"),
    ]
    assert {answer.status_code for answer in answers} == {200, 400, 404, 413}
    for answer in answers:
        for name, value in SECURITY_HEADERS.items():
            assert value in answer.headers[name]


def test_operations_answer_as_documented(node: ApiNode) -> None:
    assert node.client.get("/").status_code == 404
    assert node.client.get("/health").status_code == 200
    ready = node.client.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert all(ready.json()["checks"].values())
    metrics = node.client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
