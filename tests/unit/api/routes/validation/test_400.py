"""POST /api/v1/keys/validate: no key, or a request that cannot be understood."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.api.callers import VALIDATE, a_key, bearer

pytestmark = pytest.mark.anyio


class Test400:
    @pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"api_key":null}', b'{"api_key":""}'])
    async def test_no_key_anywhere(self, anyone: httpx.AsyncClient, body: bytes) -> None:
        answer = await anyone.post(VALIDATE, content=body)

        assert (answer.status_code, answer.json()) == (400, {"detail": "No API key provided"})

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"\xff\xfe",
            b'{"api_key": NaN}',
            b'{"service_id": Infinity}',
            b"nul",
            b"{'api_key': 'x'}",
            b'{"client_ip":"\x00"}',
            b'{"service_id":"\\ud800"}',
            b"[" * 2000 + b"]" * 2000,
            b'{"a":' * 2000 + b"1" + b"}" * 2000,
        ],
    )
    async def test_broken_json(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        key = await a_key(admin)

        for headers in ({}, bearer(key)):
            answer = await anyone.post(VALIDATE, headers=headers, content=body)
            assert (answer.status_code, answer.json()) == (400, {"detail": "body: not valid JSON"})

    @pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"true", b"1e999999", b"9" * 400])
    async def test_a_body_that_is_no_object(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, body: bytes
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(VALIDATE, headers=bearer(key), content=body)

        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("body: ")

    @pytest.mark.parametrize("field", ["service_id", "required_scope", "client_ip", "api_key"])
    @pytest.mark.parametrize("value", [1, 1.5, True, [], {}, ["platform"]])
    async def test_a_wrong_type_names_its_field(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, field: str, value: object
    ) -> None:
        key = await a_key(admin)

        answer = await anyone.post(VALIDATE, headers=bearer(key), json={field: value})

        assert (answer.status_code, answer.json()) == (400, {"detail": f"{field}: must be a string or null"})

    @pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
    async def test_a_credential_header_given_twice(
        self, admin: httpx.AsyncClient, anyone: httpx.AsyncClient, name: str
    ) -> None:
        """Which of them would another server have taken?"""
        key = await a_key(admin)
        value = f"Bearer {key.secret}" if name == "Authorization" else key.secret

        answer = await anyone.post(VALIDATE, headers=[(name, value), (name, value)])

        assert (answer.status_code, answer.json()) == (400, {"detail": f"{name}: given more than once"})
