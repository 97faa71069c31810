"""The same request, as different callers write it."""

from __future__ import annotations

import gzip

import httpx
import pytest

from services.api.verdict import Verdict
from tests.unit.api.callers import KEYS, MINIMAL, VALIDATE, a_key, bearer, refused
from tests.unit.api.running import ADMIN_TOKEN, running

pytestmark = pytest.mark.anyio

NO_STORE = "no-store"


@pytest.mark.parametrize(
    "path",
    [
        f"/{VALIDATE}",
        f"//{VALIDATE}",
        f"{VALIDATE}/",
        f"{VALIDATE}//",
        "/api//v1/keys/validate",
        "/api/v1/keys//validate/",
        "/api/v1/keys/%76alidate",
        "/api/v1/keys%2Fvalidate",
    ],
)
async def test_the_path_may_be_spelled_otherwise(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient, path: str
) -> None:
    """A base URL that ends with a slash is a mistake that some clients take for a pass when it is a 404."""
    key = await a_key(admin)
    url = f"http://auth.test{path}"
    assert (await anyone.post(url, headers=bearer(key))).status_code == 200
    assert refused(await anyone.post(url, headers=bearer("garbage")), Verdict.UNKNOWN)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("as_admin", [True, False])
async def test_another_method_is_no_pass(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient, method: str, as_admin: bool
) -> None:
    caller = admin if as_admin else anyone
    assert refused(await caller.request(method, VALIDATE), Verdict.NOT_SERVED)


@pytest.mark.parametrize("path", [f"{VALIDATE}/x", f"/auth{VALIDATE}", "/API/v1/keys/VALIDATE"])
async def test_what_is_only_meant_for_it_is_no_pass(anyone: httpx.AsyncClient, path: str) -> None:
    assert refused(await anyone.post(path), Verdict.NOT_SERVED)


async def test_other_paths_may_be_spelled_otherwise_too(admin: httpx.AsyncClient) -> None:
    created = await admin.post(f"http://auth.test/{KEYS}/", json=MINIMAL)
    assert created.status_code == 201
    assert (await admin.get(f"http://auth.test/{KEYS}/")).status_code == 200
    key_id = created.json()["key_id"]
    assert (await admin.get(f"http://auth.test//api/v1//keys/{key_id}/")).status_code == 200
    assert (await admin.get("http://auth.test//")).status_code == 404


@pytest.mark.parametrize("blanks", ["\n", "\r\n", " ", "\t", " \r\n\t"])
async def test_blanks_around_a_key_are_none_of_it(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient, blanks: str
) -> None:
    key = (await a_key(admin)).secret
    for body in (key + blanks, blanks + key, blanks + key + blanks):
        assert (await anyone.post(VALIDATE, json={"api_key": body})).status_code == 200
    assert (await anyone.post(VALIDATE, json={"api_key": blanks})).status_code == 400


async def test_tabs_are_blanks_for_admins_and_keys_alike(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient
) -> None:
    key = (await a_key(admin)).secret
    for header in (f"Bearer\t{key}", f"bearer \t{key}", f"ApiKey\t{key}"):
        assert (await anyone.post(VALIDATE, headers={"Authorization": header})).status_code == 200
    assert (await anyone.get(KEYS, headers={"Authorization": f"Bearer\t{ADMIN_TOKEN}"})).status_code == 200


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "x/y", "é"]
)
async def test_json_is_read_whatever_it_is_called(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {b"Content-Type": content_type.encode()}
    key = await a_key(admin)
    body = b'{"api_key":"%s"}' % key.secret.encode()
    assert (await anyone.post(VALIDATE, content=body, headers=headers)).status_code == 200
    body = b'{"name":"ci","service_id":"platform"}'
    assert (await admin.post(KEYS, content=body, headers=headers)).status_code == 201
    body = b'{"service_id":"platform","endpoint":"/p","status_code":200,"response_time_ms":1}'
    assert (
        await anyone.post(f"/api/v1/usage/{key.key_id}", content=body, headers=headers)
    ).status_code == 200


async def test_a_byte_order_mark_is_dropped(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    key = await a_key(admin)
    body = b'\xef\xbb\xbf{"api_key":"%s"}' % key.secret.encode()
    assert (await anyone.post(VALIDATE, content=body)).status_code == 200
    body = b'\xef\xbb\xbf{"name":"ci","service_id":"platform"}'
    assert (await admin.post(KEYS, content=body)).status_code == 201


async def test_a_compressed_body_is_415(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    key = await a_key(admin)
    zipped = {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"name":"ci","service_id":"platform"}')
    for answer in (
        await anyone.post(VALIDATE, content=body, headers=zipped),
        await anyone.post(VALIDATE, content=body, headers=zipped | bearer(key)),
        await admin.post(KEYS, content=body, headers=zipped),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (415, Verdict.ENCODED.text)
    garbage = zipped | bearer("garbage")
    assert refused(await anyone.post(VALIDATE, content=body, headers=garbage), Verdict.UNKNOWN)
    assert (await anyone.post(VALIDATE, headers=zipped | bearer(key))).status_code == 200, "there is no body"


async def test_a_member_given_twice_is_400(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    key = await a_key(admin, scopes=["read"])
    for answer in (
        await anyone.post(
            VALIDATE, content=b'{"required_scope":"admin","required_scope":"read"}', headers=bearer(key)
        ),
        await admin.post(KEYS, content=b'{"name":"a","service_id":"platform","required_scope":1,"name":"b"}'),
    ):
        assert answer.status_code == 400
        assert answer.json()["detail"].endswith(": given more than once")


async def test_every_401_has_a_challenge(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    key = await a_key(admin, scopes=["read"])
    for answer in (
        await anyone.post(VALIDATE, headers=bearer("garbage")),
        await anyone.post(VALIDATE, headers=bearer(key), json={"service_id": "prediction"}),
        await anyone.get(VALIDATE),
        await anyone.post(KEYS, json=MINIMAL),
        await anyone.get(KEYS, headers={"Authorization": "Bearer wrong"}),
        await anyone.post(f"{KEYS}/{key.key_id}/rotate"),
    ):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    answer = await anyone.post(VALIDATE, headers=bearer(key), json={"required_scope": "admin"})
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'


async def test_no_answer_is_stored(admin: httpx.AsyncClient, anyone: httpx.AsyncClient) -> None:
    key = await a_key(admin)
    for answer in (
        await anyone.post(VALIDATE, headers=bearer(key)),
        await anyone.post(VALIDATE, headers=bearer("garbage")),
        await anyone.post(VALIDATE),
        await admin.post(KEYS, json=MINIMAL),
        await admin.post(KEYS, json={}),
        await admin.get(KEYS),
        await anyone.get(KEYS),
        await anyone.get("/nowhere"),
        await anyone.post(VALIDATE, content=b" " * 100_000),
    ):
        assert answer.headers.get_list("cache-control") == [NO_STORE], answer


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/openapi.json", KEYS, f"{KEYS}/none"])
async def test_head_is_get_without_a_body(admin: httpx.AsyncClient, path: str) -> None:
    got, head = await admin.get(path), await admin.head(path)
    assert head.status_code == got.status_code
    assert head.headers.keys() == got.headers.keys()


async def test_the_address_is_what_trusted_proxies_say(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("node")
    async with running(folder, {"TRUSTED_PROXIES": "203.0.113.7, 10.0.0.0/8"}) as api:
        async with api.client() as admin, api.client(admin=False) as proxy:
            key = bearer(await a_key(admin, allowed_ips=["198.51.100.1"]))
            behind = {"X-Forwarded-For": "1.2.3.4, 198.51.100.1, 10.0.0.1"}
            assert (await proxy.post(VALIDATE, headers=key | behind)).status_code == 200
            spoofed = {"X-Forwarded-For": "198.51.100.1, 1.2.3.4"}
            outside = Verdict.OUTSIDE_ALLOWLIST
            assert refused(await proxy.post(VALIDATE, headers=key | spoofed), outside)
            assert refused(await proxy.post(VALIDATE, headers=key), outside)
        async with api.client(admin=False, peer="198.51.100.2") as stranger:
            assert refused(await stranger.post(VALIDATE, headers=key | behind), outside)


@pytest.mark.parametrize("written", ["198.51.100.1:5678", '"198.51.100.1:1"', "::ffff:198.51.100.1"])
async def test_the_address_in_the_body_is_understood_as_proxies_write_it(
    admin: httpx.AsyncClient, anyone: httpx.AsyncClient, written: str
) -> None:
    key = bearer(await a_key(admin, allowed_ips=["198.51.100.0/24"]))
    assert (await anyone.post(VALIDATE, headers=key, json={"client_ip": written})).status_code == 200
