"""/docs: everything it loads is a file of this origin, and no script stands in the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.unit.api.running import running

pytestmark = pytest.mark.anyio

BASE = "http://auth.test/docs"


class Page(HTMLParser):
    """What a page loads, and what it would run that stands in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self._within = tag
        if tag in ("script", "link"):
            self.loads.append(urljoin(BASE, given.get("src") or given.get("href") or ""))
        self.inline += [name for name in given if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style") and data.strip():
            self.inline.append(data)


async def page(client: httpx.AsyncClient) -> Page:
    return Page((await client.get("/docs")).text)


async def test_all_that_the_page_loads_comes_from_here(anyone: httpx.AsyncClient) -> None:
    found = await page(anyone)

    assert found.inline == []
    assert {urlsplit(url).netloc for url in found.loads} == {"auth.test"}
    types = {}
    for url in found.loads:
        answer = await anyone.get(urlsplit(url).path)
        assert answer.status_code == 200, url
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        types[url.rpartition("/")[2]] = answer.headers["content-type"]
    assert types == {
        "favicon-32x32.png": "image/png",
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "docs.js": "text/javascript; charset=utf-8",
    }


async def test_the_page_may_load_from_here_alone(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.get("/docs")

    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"


async def test_nothing_is_asked_of_others_or_kept(anyone: httpx.AsyncClient) -> None:
    [script] = [url for url in (await page(anyone)).loads if url.endswith("docs.js")]
    text = (await anyone.get(urlsplit(script).path)).text

    assert re.search(r"validatorUrl: null", text)
    assert re.search(r"persistAuthorization: false", text)
    assert re.search(r"queryConfigEnabled: false", text)
    assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.M)


@pytest.mark.parametrize(
    "path",
    [
        "docs.py",
        "docs.html",
        "__init__.py",
        "../docs.js",
        "..%2fdocs.py",
        "%2e%2e/%2e%2e/docs.py",
        "....//docs.py",
        "..%5cdocs.py",
        "/etc/passwd",
        "docs.js%00",
        "DOCS.JS",
        "",
    ],
)
async def test_no_other_file_is_ever_served(anyone: httpx.AsyncClient, path: str) -> None:
    version = urlsplit((await page(anyone)).loads[0]).path.split("/")[2]

    assert (await anyone.get(f"/docs/{version}/{path}")).status_code == 404


@pytest.mark.parametrize("version", ["0", "latest", "%2e", "x" * 3000])
async def test_another_version_is_not_there(anyone: httpx.AsyncClient, version: str) -> None:
    """What is cached for ever must not be kept under another version's address."""
    answer = await anyone.get(f"/docs/{version}/docs.js")

    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


async def test_they_can_be_switched_off(tmp_path: Path) -> None:
    async with running(tmp_path / "on") as api, api.client(admin=False) as anyone:
        files = [urlsplit(url).path for url in (await page(anyone)).loads]
    async with running(tmp_path / "off", {"API_DOCS": "off"}) as api, api.client(admin=False) as anyone:
        for path in ("/docs", "/openapi.json", "/docs/oauth2-redirect", "/redoc", *files):
            assert (await anyone.get(path)).status_code == 404, path
            assert (await anyone.post(path)).status_code == 404, path
        assert (await anyone.put("/api/v1/keys")).headers["allow"] == "GET, POST"
