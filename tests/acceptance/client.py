"""A client of one node as strangers write it: every request goes over a connection of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

KEYS = "/api/v1/keys"
VALIDATE = f"{KEYS}/validate"
USAGE = "/api/v1/usage"

#: Longer than the ten seconds within which everything is answered.
TIMEOUT_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Created:
    """A key that was issued to us."""

    key_id: str
    api_key: str


class ApiClient:
    """The public routes and, with the token, those of the admin. Answers are returned as they come."""

    def __init__(self, url: str, admin_token: str) -> None:
        self.url = url
        self._admin = {"Authorization": f"Bearer {admin_token}"}
        self._http = plain_http(url)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self._http.get(path, params=parameters)

    def post(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> httpx.Response:
        return self._http.post(path, json=body, headers=headers)

    def create(self, **body: Any) -> httpx.Response:
        wanted = {"name": "acceptance", "service_id": "platform", **body}
        return self._http.post(KEYS, json=wanted, headers=self._admin)

    def list(self, **parameters: Any) -> httpx.Response:
        return self._http.get(KEYS, params=parameters, headers=self._admin)

    def list_at(self, link: str) -> httpx.Response:
        """Another page of the list, where its `Link` header says."""
        return self._http.get(link, headers=self._admin)

    def look_up(self, key_id: str) -> httpx.Response:
        return self._http.get(f"{KEYS}/{key_id}", headers=self._admin)

    def rotate(self, key_id: str, **body: Any) -> httpx.Response:
        return self._http.post(f"{KEYS}/{key_id}/rotate", json=body or None, headers=self._admin)

    def revoke(self, key_id: str) -> httpx.Response:
        return self._http.delete(f"{KEYS}/{key_id}", headers=self._admin)

    def validate(self, api_key: str, **question: Any) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {api_key}"}
        return self._http.post(VALIDATE, json=question or None, headers=bearer)

    def accepts(self, api_key: str) -> bool:
        """Whether the key passes; anything but a clear yes or no fails the test."""
        answer = self.validate(api_key)
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def report(self, key_id: str, idempotency_key: str | None = None, **use: Any) -> httpx.Response:
        """A use as the platform's middleware reports it, with some fields changed."""
        reported = {"service_id": "platform", "endpoint": "/predict", "status_code": 200, **use}
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._http.post(f"{USAGE}/{key_id}", json={"response_time_ms": 0, **reported}, headers=headers)

    def debit(self, key_id: str, idempotency_key: str) -> httpx.Response:
        """A use as the platform's middleware debits it."""
        body = {
            "model_id": None,
            "endpoint": "/predict",
            "response_time_ms": 0,
            "status_code": 0,
            "service_id": "platform",
            "idempotency_key": idempotency_key,
            "compute_ms": 0,
            "predictions_count": 1,
        }
        return self._http.post(f"{USAGE}/{key_id}/debit", json=body)

    def stats(self, key_id: str, **parameters: Any) -> httpx.Response:
        return self._http.get(f"{USAGE}/{key_id}/stats", params=parameters, headers=self._admin)

    def billing(self, key_id: str) -> httpx.Response:
        return self._http.get(f"{USAGE}/{key_id}/billing", headers=self._admin)

    def aggregate(self, **parameters: Any) -> httpx.Response:
        return self._http.get(f"{USAGE}/aggregate", params=parameters, headers=self._admin)

    def new_key(self, **body: Any) -> Created:
        return issued(self.create(**body), 201)

    def rotated(self, key_id: str, **body: Any) -> Created:
        return issued(self.rotate(key_id, **body), 200)


def plain_http(url: str) -> httpx.Client:
    """For many requests, each over a connection of its own. Certificates take 20 ms to load: it has none."""
    return httpx.Client(
        base_url=url,
        timeout=TIMEOUT_SECONDS,
        limits=httpx.Limits(max_keepalive_connections=0),
        trust_env=False,
        verify=False,
    )


def issued(answer: httpx.Response, status: int) -> Created:
    """The key in the answer to a create (201) or a rotate (200)."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    return Created(body["key_id"], body["api_key"])
