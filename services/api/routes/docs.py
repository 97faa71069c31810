"""/docs: Swagger UI, every file of it from this origin, since admins type their tokens into it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import AsyncIterator, Mapping
from importlib import resources

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

PATH = "/docs"

MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "docs.js": "text/javascript; charset=utf-8",
}
#: The address of a file changes with its content.
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
CHUNK_BYTES = 64 * 1024


def add_docs(app: FastAPI) -> None:
    """Serve the page and its files."""
    app.add_route(PATH, _page, include_in_schema=False)
    app.add_route(f"{PATH}/{{version}}/{{name}}", _file, include_in_schema=False)


@functools.cache
def files() -> Mapping[str, bytes]:
    """Every file of the page by its name: no request ever names a path on disk."""
    ours = resources.files("services.api.routes")
    swagger_ui = resources.files("fastapi_swagger.resources")
    folders = {name: ours if name == "docs.js" else swagger_ui for name in MEDIA_TYPES}
    return {name: folder.joinpath(name).read_bytes() for name, folder in folders.items()}


@functools.cache
def version() -> str:
    """Another one for other files."""
    return hashlib.sha256(b"".join(files().values())).hexdigest()[:16]


@functools.cache
def _html() -> str:
    page = resources.files("services.api.routes").joinpath("docs.html").read_text("utf-8")
    return page.replace("VERSION", version())


async def _page(_: Request) -> Response:
    return HTMLResponse(_html(), headers={"Cache-Control": "no-cache"})


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if request.path_params["version"] != version() or (body := files().get(name)) is None:
        raise HTTPException(404)
    headers = {**FOR_EVER, "Content-Length": str(len(body))}
    return StreamingResponse(_chunks(body), media_type=MEDIA_TYPES[name], headers=headers)


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    # At once, a megabyte and a half would be copied for everybody who reads slowly.
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]
